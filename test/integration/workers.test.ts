/** One sidecar in several threads (`--workers 2`): to its callers, its policy, its limits and its metrics it is one. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, describe, it } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { Stats } from '../../src/admin/stats.ts'
import { eventually } from '../support/control.ts'
import { call, Mesh, type RunningWorkload } from '../support/mesh.ts'

const env = { OUTRIGGER_WORKERS: '2' }
/** Connections enough for the kernel to give both threads some: all on one is a chance of 2 in 2^40. */
const many = 40

/** Threads that sidecars have started here, the latest last. */
const threads: Worker[] = []
const onWorker = (worker: Worker): void => void threads.push(worker)

interface App {
  status: number
  /** Answers are kept back until then. */
  gate: Promise<void> | undefined
  running: number
  runningMax: number
}
const apps: Record<'one' | 'two', App> = { one: newApp(), two: newApp() }

function newApp(): App {
  return { status: 200, gate: undefined, running: 0, runningMax: 0 }
}

const handler =
  (name: 'one' | 'two'): http.RequestListener =>
  (_req, res) => {
    const app = apps[name]
    app.running++
    app.runningMax = Math.max(app.runningMax, app.running)
    const { status } = app
    void Promise.resolve(app.gate).then(() => {
      app.running--
      res.writeHead(status, { 'x-name': name }).end(name)
    })
  }

const route = (to: string): string => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: pair, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: one }]
  rules: [{ backendRefs: [{ name: ${to}, port: 8080 }] }]
`
const policy = (of: string, spec: string): string => `apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: ${of}, namespace: test }
spec:
  targetRefs: [{ kind: Service, name: ${of} }]
  ${spec}
`

let mesh: Mesh
let client: RunningWorkload

before(async () => {
  process.on('worker', onWorker)
  mesh = await Mesh.start({
    workloads: [
      { name: 'client', env },
      { name: 'one', env, app: handler('one') },
      { name: 'two', app: handler('two') },
      // One Service with two endpoints.
      { name: 'good', service: 'pair', app: handler('one') },
      { name: 'bad', service: 'pair', app: handler('two') },
    ],
  })
  client = mesh.get('client')
})

after(async () => {
  process.off('worker', onWorker)
  await mesh[Symbol.asyncDispose]()
})

const each = <T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => work(i)))

/** As many requests, one after the other, each on a connection of its own. */
async function inTurn(count: number, url: string): Promise<string[]> {
  const answers: string[] = []
  for (let i = 0; i < count; i++) {
    const { status, headers } = await call(client, url)
    answers.push(`${status} ${String(headers['x-outrigger-reason'] ?? headers['x-name']).split(';')[0]}`)
  }
  return answers
}

const stats = async (of: RunningWorkload): Promise<Stats> => (await (await fetch(`${of.admin}/stats`)).json()) as Stats

/** Sum of the lines of a scrape that have all these words. */
async function metric(of: RunningWorkload, ...words: string[]): Promise<number> {
  const text = await (await fetch(`${of.metrics}/metrics`)).text()
  const lines = text.split('\n').filter((line) => !line.startsWith('#') && words.every((word) => line.includes(word)))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** One that has `count` requests under way at `app`, and an end for them. */
async function underWay(app: App, count: number, url: string) {
  const gate = Promise.withResolvers<void>()
  app.gate = gate.promise
  const answers = each(count, () => call(client, url))
  await eventually(() => app.running === count, `${count} requests are under way`)
  return {
    finish: async () => {
      app.gate = undefined
      gate.resolve()
      return answers
    },
  }
}

describe('two workers', { timeout: 120_000 }, () => {
  it('serve both ways, and what they counted adds up', async () => {
    const answers = await each(many, () => call(client, 'http://one:8080/'))
    for (const { body } of answers) assert.equal(body, 'one')
    const requests = ['outrigger_requests_total', 'destination_service_name="one"', 'response_code="200"']
    assert.equal(await metric(client, ...requests, 'reporter="source"'), many)
    assert.equal(await metric(mesh.get('one'), ...requests, 'reporter="destination"', 'sa/client'), many)
    assert.equal(await metric(client, 'outrigger_request_duration_seconds_count', 'name="one"'), many)
    assert.equal(await metric(client, 'outrigger_request_duration_seconds_bucket', 'name="one"', '+Inf'), many)
    const upstream = (await stats(client)).upstreams.find(({ service }) => service === 'test/one')!
    assert.equal(upstream.requests, many)
    assert.equal(
      upstream.latencyCounts.reduce((sum, count) => sum + count),
      many,
    )
    const { inbound } = await stats(mesh.get('one'))
    assert.deepEqual([inbound.requests, inbound.bySource.length, inbound.bySource[0]!.requests], [many, 1, many])
  })

  it('say how many requests run', async () => {
    const held = await underWay(apps.one, many, 'http://one:8080/')
    assert.equal(await metric(client, 'outrigger_requests_in_flight'), many)
    assert.equal((await stats(client)).upstreams.find(({ service }) => service === 'test/one')!.inFlight, many)
    for (const { status } of await held.finish()) assert.equal(status, 200)
    assert.equal(await metric(client, 'outrigger_requests_in_flight'), 0)
  })

  it('have a policy in force, all of them, when the control plane says that it is', async () => {
    for (const to of ['two', 'one', 'two', 'one'] as const) {
      await mesh.setPolicies(route(to))
      const answers = await each(many, () => call(client, 'http://one:8080/'))
      assert.deepEqual(new Set(answers.map(({ headers }) => headers['x-name'])), new Set([to]))
    }
  })

  it('are one breaker: one window, one opening, one probe, one closing', async () => {
    await mesh.setPolicies(
      policy('two', 'circuitBreaker: [{ scope: Service, volumeThreshold: 20, resetTimeout: 1s, rollingWindow: 60s }]'),
    )
    const { seen } = mesh.get('two')
    apps.two.status = 500
    // A window for each thread would open after 20 of its own.
    assert.deepEqual(new Set(await inTurn(20, 'http://two:8080/')), new Set(['500 two']))
    assert.deepEqual(new Set(await inTurn(many, 'http://two:8080/')), new Set(['503 BREAKER_OPEN']))
    assert.equal(mesh.get('two').seen, seen + 20)
    const transitions = async (): Promise<number[]> =>
      Promise.all(['open', 'half-open', 'closed'].map((to) => metric(client, 'circuit_transitions', `to="${to}"`)))
    assert.deepEqual(await transitions(), [1, 0, 0])
    assert.equal(await metric(client, 'outrigger_circuit_state', 'test/two'), 2)
    apps.two.status = 200
    const gate = Promise.withResolvers<void>()
    apps.two.gate = gate.promise
    while ((await transitions())[1] === 0);
    // All at once: one of them is the probe, whichever thread has it.
    let refused = 0
    const answers = each(many, async () => {
      const answer = await call(client, 'http://two:8080/')
      if (answer.status === 503) refused++
      return answer
    })
    await eventually(() => apps.two.running === 1, 'the probe is under way')
    // One that came after the probe's answer would be let through.
    await eventually(() => refused === many - 1, 'all others are refused')
    const rest = await Promise.race([answers, inTurn(1, 'http://two:8080/')])
    assert.deepEqual(rest, ['503 BREAKER_OPEN'])
    gate.resolve()
    apps.two.gate = undefined
    const codes = (await answers).map(({ status }) => status)
    assert.deepEqual(
      codes.filter((status) => status === 200),
      [200],
    )
    assert.deepEqual(new Set(await inTurn(many, 'http://two:8080/')), new Set(['200 two']))
    assert.deepEqual(await transitions(), [1, 1, 1])
  })

  it('eject an endpoint for what both saw of it, and both let it back', async () => {
    await mesh.setPolicies(
      policy('pair', 'outlierDetection: { consecutive5xxErrors: 6, baseEjectionTime: 3s, maxEjectionPercent: 50 }'),
    )
    apps.two.status = 500
    const before = mesh.get('bad').seen
    await inTurn(2 * many, 'http://pair:8080/')
    assert.equal(mesh.get('bad').seen - before, 6)
    assert.equal(await metric(client, 'outrigger_outlier_ejections_active'), 1)
    apps.two.status = 200
    while ((await metric(client, 'outrigger_outlier_ejections_active')) === 1);
    assert.deepEqual(new Set(await inTurn(many, 'http://pair:8080/')), new Set(['200 one', '200 two']))
  })

  it('have one connection where a policy allows one, and both get their turn', async () => {
    await mesh.setPolicies(policy('two', 'connectionPool: { connectionsMax: 1 }'))
    // What was opened before the policy is not ended by it.
    await mesh.get('two').restart()
    await mesh.ready()
    await mesh.settled()
    apps.two.runningMax = 0
    const answers = await each(3 * many, () => call(client, 'http://two:8080/'))
    for (const { status } of answers) assert.equal(status, 200)
    assert.equal(apps.two.runningMax, 1)
    const { pools } = (await (await fetch(`${client.admin}/backends`)).json()) as {
      pools: { key: string; open: number }[]
    }
    const open = pools.filter(({ key }) => key.includes('/sa/two')).map((pool) => pool.open)
    assert.deepEqual(open, [1])
  })

  it('a thread that dies costs its own connections, is counted and replaced, and no count is lost', async () => {
    const agents = Array.from({ length: many }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }))
    const ask = (agent: http.Agent): Promise<number> =>
      call(client, 'http://one:8080/', { agent }).then(
        ({ status }) => status,
        () => 0,
      )
    assert.deepEqual(new Set(await Promise.all(agents.map(ask))), new Set([200]))
    const counted = ['outrigger_requests_total', 'destination_service_name="one"', 'response_code="200"']
    const before = await metric(client, ...counted)
    // Of the client: the first two of the mesh. What it cannot understand is an error that nobody catches.
    const [victim] = threads
    const started = threads.length
    victim!.postMessage({ is: 'policy', serial: 0, changes: null })
    await once(victim!, 'exit')
    // Those that it had are gone; the others do not notice, and new ones come to a thread that lives.
    const lost = (): number => agents.filter(({ freeSockets }) => Object.keys(freeSockets).length === 0).length
    await eventually(() => lost() > 0, 'its connections are lost')
    assert.ok(lost() < many, 'those of the other one stay')
    const answered = (await Promise.all(agents.map(ask))).filter((status) => status === 200).length
    assert.deepEqual(new Set(await inTurn(many, 'http://one:8080/')), new Set(['200 one']))
    assert.equal(client.running.ready().ready, true)
    await eventually(() => threads.length === started + 1, 'another thread is started')
    assert.equal(await metric(client, 'outrigger_worker_restarts_total'), 1)
    assert.equal(await metric(client, ...counted), before + answered + many)
    // The new one has policy and certificate, and takes its share again: the other one alone would be stopped by this.
    const spared = threads[1]!
    for (const agent of agents) agent.destroy()
    await spared.terminate()
    await eventually(() => threads.length === started + 2, 'a second one is started')
    assert.equal(await metric(client, 'outrigger_worker_restarts_total'), 2)
    assert.deepEqual(new Set(await inTurn(many, 'http://one:8080/')), new Set(['200 one']))
  })

  it('a thread that is replaced makes its sidecar refuse nobody', async () => {
    // Of the callee, whose inbound side resets what it cannot judge.
    const { address } = mesh.get('one')
    const ask = (): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = http.get({ host: address, port: 8080, agent: false }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        })
        request.on('error', reject)
      })
    const [, , victim] = threads
    const started = threads.length
    await victim!.terminate()
    await eventually(() => threads.length === started + 1, 'another thread is started')
    let listens = false
    threads.at(-1)!.on('message', ({ is, answer }: { is: string; answer?: unknown }) => {
      listens ||= is === 'answer' && Array.isArray(answer)
    })
    // Enough at once for the new thread to get some in its first moment.
    for (let more = 0; more < 3; more += listens ? 1 : 0)
      assert.deepEqual(new Set(await each(many, ask)), new Set([200]))
  })

  it('drain: what is under way is answered, and then nobody listens', async () => {
    const held = await underWay(apps.one, many, 'http://one:8080/')
    const drained = mesh.get('one').running.drain(10_000)
    const clientDrained = client.running.drain(10_000)
    for (const { status } of await held.finish()) assert.equal(status, 200)
    await Promise.all([drained, clientDrained])
    await assert.rejects(call(client, 'http://one:8080/'), { code: 'ECONNREFUSED' })
  })
})
