/** Several replicas of the control plane behind one address: one that goes, in whatever way, costs nothing. */
import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { request } from 'undici'
import type { ControlPlaneStatus } from '../../control-plane/admin/status.ts'
import { type Backend, Balancer } from '../support/balancer.ts'
import { call, Mesh } from '../support/mesh.ts'
import { RealProcess } from '../support/real-process.ts'

const names = ['client', 'server-1', 'server-2', 'server-3']
/** On a machine that has more to do than it can, all of this waits for its turn. */
const limitMs = loadavg()[0]! > availableParallelism() ? 6_000 : 2_000
const host = `127.${20 + (process.pid % 200)}.${(process.pid >> 8) % 250}.250`

interface Replica extends Backend {
  readonly admin: number
  readonly process: RealProcess
}

/** A request every few milliseconds until it is stopped. */
class Load implements Disposable {
  readonly failures: string[] = []
  answered = 0
  readonly #mesh: Mesh
  readonly #stopping = new AbortController()
  readonly #ended: Promise<unknown>

  constructor(mesh: Mesh) {
    this.#mesh = mesh
    this.#ended = Promise.all(Array.from({ length: 4 }, (_, at) => this.#run(at)))
  }

  async #run(at: number): Promise<void> {
    for (let i = 0; !this.#stopping.signal.aborted; i++) {
      const method = i % 2 === 0 ? 'GET' : 'POST'
      // All sidecars live in this process: they need time of their own.
      await new Promise((resolve) => setTimeout(resolve, 10))
      try {
        const answer = await call(this.#mesh.get('client'), `http://server:8080/${at}`, { method })
        if (answer.status === 200) this.answered++
        else this.failures.push(`${answer.status} ${String(answer.headers['x-outrigger-reason'])}`)
      } catch (error) {
        this.failures.push(String(error))
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#ended
  }

  [Symbol.dispose](): void {
    this.#stopping.abort()
  }
}

describe('two replicas of the control plane', { timeout: 120_000 }, () => {
  let mesh: Mesh
  let balancer: Balancer
  let replicas: [Replica, Replica]
  const started: RealProcess[] = []
  let first: Backend

  function start(number: number): Replica {
    const port = 15_012 + number * 10
    const stateDir = join(mesh.folder, `replica-${number}`)
    cpSync(join(mesh.folder, 'control-plane'), stateDir, { recursive: true })
    rmSync(join(stateDir, 'lock'), { force: true })
    const flags = {
      file: mesh.documents,
      'state-dir': stateDir,
      host,
      'stream-port': String(port),
      'admin-port': String(port + 2),
      'outbound-policy': 'REGISTRY_ONLY',
    }
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
    const process = new RealProcess({
      name: `replica ${number}`,
      program: 'src/cli/outrigger',
      args: ['control-plane', 'run', ...args],
    })
    process.start()
    started.push(process)
    return { host, port, admin: port + 2, process }
  }

  async function status(replica: Replica): Promise<ControlPlaneStatus | undefined> {
    try {
      const { body } = await request(`http://${replica.host}:${replica.admin}/status`, { headersTimeout: 1_000 })
      return (await body.json()) as ControlPlaneStatus
    } catch {
      return undefined
    }
  }

  /** Names of the sidecars that are in sync at one of these. */
  async function inSync(at: readonly Replica[]): Promise<string[]> {
    const found = await Promise.all(at.map(status))
    const here = found.flatMap((each) => each?.sidecars ?? []).filter(({ connected, inSync: is }) => connected && is)
    return [...new Set(here.map(({ workload }) => workload.replace('test/', '')))].sort()
  }

  /** Resolves with the milliseconds until every sidecar was in sync at these. */
  async function allInSync(at: readonly Replica[], withinMs: number): Promise<number> {
    const startedAt = performance.now()
    for (;;) {
      const there = await inSync(at)
      const tookMs = performance.now() - startedAt
      if (there.length === names.length) return tookMs
      if (tookMs > withinMs) {
        const said = at.map(({ process }) => process.said).join('\n')
        throw new Error(`after ${tookMs} ms only these are in sync: ${there.join(', ')}\n${said}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  before(async () => {
    balancer = await Balancer.start([])
    mesh = await Mesh.start({
      workloads: names.map((name) =>
        name === 'client' ? { name } : { name, service: 'server', app: (_request, response) => response.end(name) },
      ),
      controlPlaneAt: (port) => {
        first = { host: '127.0.0.1', port }
        balancer.backends = [first]
        return balancer.address
      },
    })
    replicas = [start(1), start(2)]
    for (const replica of replicas) {
      for (let tries = 0; (await status(replica)) === undefined; tries++) {
        replica.process.checkAlive()
        assert.ok(tries < 300, replica.process.said)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  })

  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    await Promise.all(started.map((process) => process.end('SIGKILL')))
    await balancer?.[Symbol.asyncDispose]()
  })

  it('take over from one that ends, each a part', async () => {
    using load = new Load(mesh)
    balancer.backends = replicas
    await mesh.stopControlPlane()
    const tookMs = await allInSync(replicas, 10_000)
    await load.stop()
    assert.deepEqual(load.failures.slice(0, 5), [])
    assert.ok(tookMs < limitMs, `${tookMs} ms`)
    for (const replica of replicas) assert.ok((await inSync([replica])).length > 0, `${replica.port} has no sidecar`)
  })

  it('one that is cut off without a word is left within two seconds, and nothing is lost', async () => {
    const [cut, other] = replicas
    // Long enough for the streams to count as good ones.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    using load = new Load(mesh)
    const moved = (await inSync([cut])).length
    assert.ok(moved > 0)
    balancer.cut(cut)
    const tookMs = await allInSync([other], 12_000)
    await load.stop()
    assert.deepEqual(load.failures.slice(0, 5), [])
    assert.ok(load.answered > 0)
    assert.ok(tookMs < limitMs + 200, `${tookMs} ms`)
    balancer.backends = replicas
  })

  it('one that is only slow keeps its sidecars', async () => {
    const [, other] = replicas
    const before = balancer.connections(other)
    balancer.backends = [other]
    process.kill(other.process.pid, 'SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    process.kill(other.process.pid, 'SIGCONT')
    await allInSync([other], 5_000)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    assert.equal((await inSync([other])).length, names.length)
    assert.ok(balancer.connections(other) <= before, 'attempts that were not needed are given up')
    balancer.backends = replicas
  })

  it('one that is killed is left at once, and what changes afterwards arrives', async () => {
    const [other, killed] = replicas
    using load = new Load(mesh)
    balancer.backends = [other]
    await killed.process.end('SIGKILL')
    const tookMs = await allInSync([other], 10_000)
    await load.stop()
    assert.ok(tookMs < limitMs, `${tookMs} ms`)
    assert.deepEqual(load.failures.slice(0, 5), [])
    mesh.write(
      'route.yaml',
      `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: server, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: server }]
  rules:
    - filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-new, value: "yes" }] } }]
      backendRefs: [{ name: server, port: 8080 }]
`,
    )
    for (let tries = 0; ; tries++) {
      const { headers } = await call(mesh.get('client'), 'http://server:8080/')
      if (headers['x-new'] === 'yes') break
      assert.ok(tries < 200, 'the change does not arrive')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })
})
