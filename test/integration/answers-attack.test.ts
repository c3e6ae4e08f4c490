/** The list of hostile answers, through the engine alone, through an inbound sidecar, and through two sidecars over mTLS. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type Answer, answers } from '../attack/answers.ts'
import { get, host } from '../attack/vector.ts'
import { Hostile, sentinelBody, whole } from '../support/hostile.ts'
import { type Relay, startRelay } from '../support/http1-relay.ts'
import { Mesh } from '../support/mesh.ts'
import { converse, type Exchanged, statuses } from '../support/raw.ts'

function judge(answer: Answer, got: Exchanged, must: RegExp | undefined): void {
  const seen = `${answer.name}: client got ${JSON.stringify(got.text.slice(0, 400))}`
  const final = statuses(got.text).filter((status) => status >= 200)
  assert.ok(got.closed, `${seen}: the connection stays open`)
  if (answer.never !== undefined) assert.doesNotMatch(got.text, answer.never, seen)
  if (must !== undefined) assert.match(got.text, must, seen)
  assert.doesNotMatch(got.text, /HTTP\/1\.1 101/, seen)
  if (answer.verdict === 'cut') {
    // Where the first sidecar had sent nothing of it yet, the second knows that nothing came.
    if (final[0] === 502) return
    assert.ok(final.length <= 1 && !whole(got.text, answer.request ?? ''), `${seen}: it looks whole`)
    return
  }
  assert.deepEqual(final, [answer.verdict === 'refused' ? 502 : answer.verdict], seen)
  assert.ok(whole(got.text, answer.request ?? ''), `${seen}: it is not whole`)
}

describe('hostile answers', () => {
  const hostile = new Hostile(answers[0]!)
  const upstream = net.createServer({ allowHalfOpen: true }, hostile.accept)
  let relay: Relay
  before(async () => {
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    relay = await startRelay((upstream.address() as net.AddressInfo).port)
  })
  after(async () => {
    await relay[Symbol.asyncDispose]()
    for (const socket of hostile.sockets) socket.destroy()
    upstream.close()
  })

  async function attempt(answer: Answer, bytewise: boolean, open: () => net.Socket): Promise<void> {
    hostile.answer = answer
    hostile.bytewise = bytewise
    // Byte by byte its chunks are others.
    judge(answer, await converse(open(), answer.request ?? get(host)), bytewise ? undefined : answer.must)
    const next = await converse(open(), get(host, '/next'))
    assert.deepEqual(statuses(next.text), [200], `${answer.name}: the next request gets ${JSON.stringify(next.text)}`)
    assert.ok(next.text.endsWith(`\r\n\r\n${sentinelBody}`), `${answer.name}: the next request gets ${next.text}`)
  }

  const throughEngine = (): net.Socket => net.connect(relay.port, '127.0.0.1')

  for (const answer of answers) {
    it(`${answer.name} -> ${answer.verdict} (RFC ${answer.rule})`, () => attempt(answer, false, throughEngine))
  }

  it('are judged the same when each byte comes alone', async () => {
    // What is served with a surplus is another matter then: the next request may be under way before the surplus is.
    for (const answer of answers) {
      if (typeof answer.verdict === 'number' || answer.bytes.length > 500) continue
      await attempt(answer, true, throughEngine)
    }
  })

  it('meet an inbound sidecar, and two sidecars over mTLS', async () => {
    await using mesh = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'app', tcp: hostile.accept }] })
    const { address } = mesh.get('app')
    const { outbound } = mesh.get('client')
    for (const answer of answers) {
      await attempt(answer, false, () => net.connect(8080, address))
      const aimed = { ...answer, request: (answer.request ?? get(host)).replace('app.test', 'app.test:8080') }
      hostile.answer = aimed
      judge(aimed, await converse(net.connect(outbound.port, outbound.host), aimed.request), aimed.must)
    }
  })

  it('a body waits for the 100 that was asked for, a second at most, and for none if its client did not', async (t) => {
    let text = ''
    let arrived = (): void => {}
    const server = net.createServer((socket) => {
      t.after(() => socket.destroy())
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        arrived()
        if (text.endsWith('second half'))
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        else if (text.includes('/willing') && text.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      })
    })
    t.after(() => server.close())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    await using fresh = await startRelay((server.address() as net.AddressInfo).port)
    const until = (pattern: RegExp): Promise<void> =>
      new Promise((resolve) => {
        arrived = () => (pattern.test(text) ? resolve() : undefined)
        arrived()
      })
    for (const [path, withHead] of [
      ['/willing', ''],
      ['/silent', ''],
      ['/silent', 'first half, '],
    ] as const) {
      text = ''
      const socket = net.connect({ port: fresh.port, host: '127.0.0.1', noDelay: true })
      const started = performance.now()
      socket.write(`POST ${path} HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 23\r\n\r\n${withHead}`)
      await until(/\r\n\r\n/)
      assert.equal(/expect: 100-continue/.test(text), withHead === '', text)
      if (withHead === '') {
        socket.write('first half, ')
        await until(/first half, $/)
        // Sweeps come every second, and this one began at any time.
        const waited = performance.now() - started
        assert.ok(path === '/willing' || waited > 900, `${path} got it after ${waited} ms`)
      }
      const got = await converse(socket, 'second half')
      assert.deepEqual(statuses(got.text), path === '/willing' ? [100, 200] : [200], got.text)
    }
  })

  it('a final answer instead of a 100 ends both connections: who knows whether the body was read as one?', async (t) => {
    let accepted = 0
    let headRead = (): void => {}
    const silent = net.createServer((socket) => {
      t.after(() => socket.destroy())
      accepted++
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        headRead()
        // It answers when it has all, so that nothing but the missing 100 speaks against this connection.
        if (text.endsWith('body')) socket.write('HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n')
      })
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    t.after(() => silent.close())
    await using fresh = await startRelay((silent.address() as net.AddressInfo).port)
    for (const expected of [1, 2]) {
      const socket = net.connect(fresh.port, '127.0.0.1')
      const arrived = new Promise<void>((resolve) => {
        headRead = resolve
      })
      socket.write(`POST / HTTP/1.1\r\n${host}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n`)
      await arrived
      const got = await converse(socket, 'body')
      assert.match(got.text, /^HTTP\/1\.1 417 /)
      assert.match(got.text, /connection: close/)
      assert.equal(accepted, expected, 'each has a connection of its own')
    }
  })
})
