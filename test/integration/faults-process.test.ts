/** Faults that only a process of its own can have, as rows of test/faults/table.ts: memory, signals, a process that is stopped. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { RealMesh } from '../support/real-mesh.ts'
import { rollingRestarts } from '../support/rolling-restarts.ts'
import { eventually } from '../support/shop.ts'

const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: server, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: server }]
  connectionPool: { connectTimeout: 1s, connectionsMax: 4, pendingRequestsMax: 100000 }
`

/** Megabytes of old space that the client's sidecar may use. */
const heapMb = 64
/** So many requests that wait, each with so much of head, are several times what that holds. */
const attackers = 2_500
const headBytes = 48_000

describe('a process', { timeout: 180_000 }, () => {
  let mesh: RealMesh
  before(async () => {
    mesh = await RealMesh.start(policies, { nodeFlags: { client: `--max-old-space-size=${heapMb}` } })
  })
  after(() => mesh[Symbol.asyncDispose]())

  /** The whole of what comes back for one request on a connection of its own; '' if it is reset. */
  const ask = (path: string, field = ''): { readonly socket: net.Socket; readonly answer: Promise<string> } => {
    const socket = net.connect(mesh.outbound)
    const answer = new Promise<string>((resolve) => {
      let text = ''
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(text))
    })
    socket.write(`GET http://server:8080${path} HTTP/1.1\r\nHost: server:8080\r\n${field}Connection: close\r\n\r\n`)
    return { socket, answer }
  }

  it('F27: two servers take turns to restart, and no request is lost without retries', async () => {
    const answered = await rollingRestarts(mesh, { turns: 2, requests: 500 })
    assert.ok(answered >= 500)
  })

  it('F30: a sidecar that stood still for two seconds says so, and loses no request, not even one that was connecting', async () => {
    const { pid } = mesh.sidecar('client')
    // No connection to the servers is kept: these need new ones.
    await mesh.sidecar('client').end('SIGTERM')
    await mesh.renewToken('client')
    mesh.sidecar('client').start()
    await mesh.ready('client')
    assert.match(await ask('/').answer, /^HTTP\/1\.1 200/)
    const stopped = mesh.sidecar('client').pid
    assert.notEqual(stopped, pid)
    const answers: Promise<string>[] = []
    for (let i = 0; i < 40; i++) {
      answers.push(ask('/').answer)
      if (i === 20) process.kill(stopped, 'SIGSTOP')
    }
    // Twice the time to connect.
    await delay(2_200)
    process.kill(stopped, 'SIGCONT')
    for (const text of await Promise.all(answers)) assert.match(text, /^HTTP\/1\.1 200/)
    await eventually('the stall is counted', async () =>
      /^outrigger_event_loop_stalls_total [1-9]/m.test(await mesh.metrics('client')),
    )
    assert.match(mesh.sidecar('client').said, /the event loop stood still for \d{4} ms/)
  })

  it('F24: several times the requests that memory holds: the rest is refused with 503 and Retry-After, and nothing is killed', async () => {
    const { pid } = mesh.sidecar('client')
    // All eight connections to the servers are taken by requests that never end; what follows waits.
    const hangs = Array.from({ length: 64 }, () => ask('/held'))
    const field = `x-filler: ${'f'.repeat(headBytes)}\r\n`
    const waiting: { readonly socket: net.Socket; readonly answer: Promise<string> }[] = []
    const refusals: string[] = []
    for (let i = 0; i < attackers; i++) {
      const one = ask('/', field)
      void one.answer.then((text) => refusals.push(text))
      waiting.push(one)
      if (i % 100 === 99) await delay(20)
    }
    await eventually('it hangs', async () => (await mesh.seen('server-a')) > 0)
    await eventually('requests are refused', () => refusals.some((text) => text.startsWith('HTTP/1.1 503')), 60_000)
    await delay(1_000)
    mesh.sidecar('client').checkAlive()
    assert.equal(mesh.sidecar('client').pid, pid)
    const answered = refusals.filter((text) => text !== '')
    for (const text of answered) {
      assert.match(text, /^HTTP\/1\.1 503 /)
      assert.match(text, /^x-outrigger-reason: OVERLOADED; by=test\/client\r$/m)
      assert.match(text, /^retry-after: 1\r$/m)
      assert.match(text, /memory is short/)
    }
    assert.match(mesh.sidecar('client').said, /memory is at 9\d % of its limit: requests are refused from here on/)
    // A reset: an end alone could be that of a client which still reads.
    for (const { socket } of [...hangs, ...waiting]) socket.resetAndDestroy()
    await eventually('it serves again', async () => (await ask('/').answer).startsWith('HTTP/1.1 200'), 60_000)
    mesh.sidecar('client').checkAlive()
    assert.equal(mesh.sidecar('client').pid, pid)
  })
})
