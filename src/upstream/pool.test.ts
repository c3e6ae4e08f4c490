import assert from 'node:assert/strict'
import type net from 'node:net'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { textBody } from '../base/body.ts'
import { MeshError } from '../base/errors.ts'
import { Exchange, type Response } from '../base/exchange.ts'
import { http1Limits } from '../http1/limits.ts'
import { responseRules } from '../http1/response-head.ts'
import { readBuffer } from '../http1/writer.ts'
import { type DialOptions, noAnswer } from './connect.ts'
import { type Dialer, Pool } from './pool.ts'
import { defaultPoolLimits, type PoolLimits } from './pool-limits.ts'

/** A socket whose peer is the test. */
class FakeSocket extends Duplex {
  sent = ''
  readonly #onread: net.OnReadOpts

  constructor(onread: net.OnReadOpts) {
    super({ allowHalfOpen: false })
    this.#onread = onread
  }

  /** As libuv does: into the shared buffer. */
  receive(text: string): void {
    readBuffer.write(text, 'latin1')
    this.#onread.callback(text.length, readBuffer)
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.sent += chunk.toString('latin1')
    done()
  }
}

interface Dial {
  readonly socket: FakeSocket
  connect(): Promise<void>
  fail(): Promise<void>
  /** Nobody answered in time. */
  expire(): Promise<void>
}

class FakeDialer implements Dialer {
  readonly dials: Dial[] = []

  dial(_to: unknown, options: DialOptions): Promise<net.Socket> {
    const socket = new FakeSocket(options.onread!)
    return new Promise((resolve, reject) => {
      this.dials.push({
        socket,
        connect: () => {
          resolve(socket as unknown as net.Socket)
          return settle()
        },
        fail: () => {
          reject(new MeshError('UPSTREAM_CONNECT', 'refused', { unsent: true }))
          return settle()
        },
        expire: () => {
          reject(new MeshError('UPSTREAM_CONNECT', 'no answer', { unsent: true, cause: noAnswer }))
          return settle()
        },
      })
    })
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

function setup(limits: Partial<PoolLimits> = {}) {
  const dialer = new FakeDialer()
  const clock = new FakeClock()
  const to = { key: '10.0.0.1:80', address: '10.0.0.1', port: 80, identity: '' }
  const rules = responseRules(http1Limits, { dropReserved: true })
  const pool = new Pool(to, dialer, { clock, http1: http1Limits, rules })
  pool.limits = { ...defaultPoolLimits, ...limits }
  const results: string[] = []
  const send = (ex: Exchange = exchange()): Exchange => {
    const at = results.push('pending') - 1
    pool.send(ex, '').then(
      (response: Response) => {
        results[at] = String(response.status)
      },
      (error: unknown) => {
        results[at] = `${(error as MeshError).code}${(error as MeshError).unsent ? ' unsent' : ''}`
      },
    )
    return ex
  }
  return { dialer, clock, pool, send, results }
}

const post = (): Exchange =>
  new Exchange({
    request: { ...exchange().request, method: 'POST' },
    body: textBody('x'),
    downstream: exchange().downstream,
    startedAt: 0,
  })

describe('a pool', () => {
  it('dials once for each that waits, and gives warm connections to the next', async () => {
    const { dialer, pool, send, results } = setup()
    send()
    send()
    assert.equal(dialer.dials.length, 2)
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 2 })
    await dialer.dials[0]!.connect()
    await dialer.dials[1]!.connect()
    assert.deepEqual(pool.size, { open: 2, idle: 0, active: 2, waiting: 0 })
    dialer.dials[0]!.socket.receive(ok)
    dialer.dials[1]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', '200'])
    assert.deepEqual(pool.size, { open: 2, idle: 2, active: 0, waiting: 0 })
    send()
    assert.equal(dialer.dials.length, 2)
    assert.match(dialer.dials[1]!.socket.sent, /GET .*GET /s, 'last in, first out')
  })

  it('serves those who wait in order when it may open no more', async () => {
    const { dialer, pool, send, results } = setup({ connectionsMax: 1 })
    for (let i = 0; i < 3; i++) send()
    await dialer.dials[0]!.connect()
    for (let i = 0; i < 3; i++) {
      assert.equal(results[i], 'pending')
      dialer.dials[0]!.socket.receive(ok)
      await settle()
      assert.equal(results[i], '200')
    }
    assert.equal(dialer.dials.length, 1)
    assert.deepEqual(pool.size, { open: 1, idle: 1, active: 0, waiting: 0 })
  })

  it('a dial that fails leaves nobody waiting for ever', async () => {
    const { dialer, pool, send, results } = setup({ connectionsMax: 1 })
    const exchanges = [send(), send(), send()]
    await dialer.dials[0]!.fail()
    assert.deepEqual(results, Array(3).fill('UPSTREAM_CONNECT unsent'))
    assert.equal(pool.size.waiting, 0)
    for (const ex of exchanges) assert.equal(ex.waiting, undefined)
    send()
    assert.equal(dialer.dials.length, 2, 'the next request tries anew')
  })

  it('a dial that fails costs one while others are served', async () => {
    const { dialer, send, results } = setup({ connectionsMax: 2 })
    for (let i = 0; i < 4; i++) send()
    await dialer.dials[0]!.connect()
    await dialer.dials[1]!.fail()
    assert.deepEqual(results, ['pending', 'UPSTREAM_CONNECT unsent', 'pending', 'pending'])
    assert.equal(dialer.dials.length, 3, 'and its place is dialled anew')
    await dialer.dials[2]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    dialer.dials[0]!.socket.receive(ok)
    dialer.dials[2]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', 'UPSTREAM_CONNECT unsent', '200', '200'])
  })

  it('dials eight at a time, and two more for each that succeeded', async () => {
    const { dialer, send } = setup()
    for (let i = 0; i < 40; i++) send()
    assert.equal(dialer.dials.length, 8)
    await dialer.dials[0]!.connect()
    // One is done; three more take its place.
    assert.equal(dialer.dials.length, 11)
    for (let i = 1; i < 8; i++) await dialer.dials[i]!.connect()
    assert.equal(dialer.dials.length, 32)
  })

  it('a dial without an answer costs nobody while the upstream answers others, and fewer are made', async () => {
    const { dialer, send, results, clock } = setup()
    send()
    await dialer.dials[0]!.connect()
    for (let i = 0; i < 4; i++) send()
    assert.equal(dialer.dials.length, 5)
    await clock.advance(4_000)
    for (const dial of dialer.dials.slice(1)) await dial.expire()
    assert.deepEqual(results, Array(5).fill('pending'))
    // One, until one succeeds.
    assert.equal(dialer.dials.length, 6)
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', ...Array(4).fill('pending')])
    await dialer.dials[5]!.connect()
    assert.equal(dialer.dials.length, 8)
  })

  it('one without an answer is a failure where nothing was answered for as long', async () => {
    const { dialer, send, results, clock } = setup()
    send()
    await dialer.dials[0]!.connect()
    send()
    await clock.advance(5_000)
    await dialer.dials[1]!.expire()
    assert.deepEqual(results, ['pending', 'UPSTREAM_CONNECT unsent'])
  })

  it('a part of a body is an answer, too', async () => {
    const { dialer, pool, send, results, clock } = setup()
    const answered = pool.send(exchange(), '')
    await dialer.dials[0]!.connect()
    const { socket } = dialer.dials[0]!
    socket.receive('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n')
    ;(await answered).body.pipe({ data: () => true, end: () => {}, fail: () => {} })
    send()
    await clock.advance(4_000)
    socket.receive('part')
    await clock.advance(4_000)
    await dialer.dials[1]!.expire()
    assert.deepEqual(results, ['pending'])
    await clock.advance(5_000)
    await dialer.dials[2]!.expire()
    assert.deepEqual(results, ['UPSTREAM_CONNECT unsent'])
  })

  it('and where there is no connection', async () => {
    const { dialer, send, results } = setup()
    send()
    await dialer.dials[0]!.expire()
    assert.deepEqual(results, ['UPSTREAM_CONNECT unsent'])
  })

  it('refuses past pendingRequestsMax and requestsMax, and those who wait count', async () => {
    const pending = setup({ pendingRequestsMax: 1 })
    pending.send()
    pending.send()
    await settle()
    assert.deepEqual(pending.results, ['pending', 'POOL_OVERFLOW unsent'])

    const { dialer, send, results } = setup({ requestsMax: 2 })
    for (let i = 0; i < 3; i++) send()
    await settle()
    assert.deepEqual(results, ['pending', 'pending', 'POOL_OVERFLOW unsent'])
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    send()
    send()
    await settle()
    assert.deepEqual(results, ['200', 'pending', 'POOL_OVERFLOW unsent', 'pending', 'POOL_OVERFLOW unsent'])
  })

  it('an idle connection does not lift requestsMax', async () => {
    const { dialer, pool, send, results } = setup()
    send()
    send()
    for (const dial of dialer.dials) await dial.connect()
    for (const dial of dialer.dials) dial.socket.receive(ok)
    await settle()
    pool.limits = { ...defaultPoolLimits, requestsMax: 1 }
    send()
    send()
    await settle()
    assert.deepEqual(results, ['200', '200', 'pending', 'POOL_OVERFLOW unsent'])
  })

  it('leaves a connection after requestsPerConnectionMax and dials for who waits', async () => {
    const { dialer, pool, send, results } = setup({ connectionsMax: 1, requestsPerConnectionMax: 1 })
    send()
    send()
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    assert.equal(dialer.dials[0]!.socket.destroyed, true)
    assert.equal(dialer.dials.length, 2)
    await dialer.dials[1]!.connect()
    dialer.dials[1]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', '200'])
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('one that gives up while it waits is taken out; the connection it asked for serves another', async () => {
    const { dialer, pool, send, results } = setup()
    const first = send()
    send()
    first.abort(new MeshError('TRY_TIMEOUT', 'too slow'))
    await dialer.dials[0]!.connect()
    assert.deepEqual(results, ['TRY_TIMEOUT unsent', 'pending'])
    dialer.dials[0]!.socket.receive(ok)
    await dialer.dials[1]!.connect()
    assert.deepEqual(results, ['TRY_TIMEOUT unsent', '200'])
    assert.deepEqual(pool.size, { open: 2, idle: 2, active: 0, waiting: 0 })
  })

  it('one that is given up under way loses its connection, and is counted out', async () => {
    const { dialer, pool, send, results } = setup({ connectionsMax: 1 })
    const first = send()
    send()
    await dialer.dials[0]!.connect()
    first.abort(new MeshError('TRY_TIMEOUT', 'too slow'))
    await settle()
    assert.deepEqual(results, ['TRY_TIMEOUT', 'pending'])
    assert.equal(dialer.dials.length, 2, 'who waits gets a new connection')
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 1 })
  })

  it('an abort that comes too late does not reach the next request on the connection', async () => {
    const { dialer, send, results } = setup()
    const first = send()
    await dialer.dials[0]!.connect()
    const stale = first.waiting
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    assert.equal(first.waiting, undefined)
    send()
    first.cancel(new MeshError('DEADLINE', 'too late'))
    assert.notEqual(stale, undefined)
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', '200'])
  })

  it('does not use a connection that has died in this turn of the event loop', async () => {
    const { dialer, pool, send, results } = setup()
    send(post())
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    // Its 'close' comes later; a request may come before.
    dialer.dials[0]!.socket.destroy()
    send(post())
    await settle()
    assert.equal(dialer.dials.length, 2)
    await dialer.dials[1]!.connect()
    dialer.dials[1]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', '200'])
    assert.deepEqual(pool.size, { open: 1, idle: 1, active: 0, waiting: 0 })
  })

  it('sends what may not be repeated only after a look at whether the peer has ended the connection', async () => {
    const { dialer, clock, pool, send, results } = setup()
    send()
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    await clock.advance(1_000)
    // Its end lies in the kernel when the request comes: a GET learns of it too late and is sent again, a POST in time.
    send(post())
    assert.deepEqual(pool.size, { open: 1, idle: 0, active: 1, waiting: 0 })
    dialer.dials[0]!.socket.destroy()
    await settle()
    await settle()
    assert.equal(dialer.dials[0]!.socket.sent.includes('POST'), false)
    await dialer.dials[1]!.connect()
    dialer.dials[1]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', '200'])
    await clock.advance(1_000)
    send(post())
    assert.equal(dialer.dials[1]!.socket.sent.match(/POST/g)?.length, 1)
    await settle()
    assert.equal(dialer.dials[1]!.socket.sent.match(/POST/g)?.length, 2)
    dialer.dials[1]!.socket.receive(ok)
    await settle()
    // A moment ago it was well.
    send(post())
    assert.equal(dialer.dials[1]!.socket.sent.match(/POST/g)?.length, 3)
    assert.equal(dialer.dials.length, 2)
  })

  it('one that is cancelled, or a pool that closes, in that moment costs nothing', async () => {
    const { dialer, clock, pool, send, results } = setup()
    send()
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    await clock.advance(1_000)
    send(post()).cancel(new MeshError('DOWNSTREAM_RESET', 'gone'))
    await settle()
    assert.deepEqual(pool.size, { open: 1, idle: 1, active: 0, waiting: 0 })
    await clock.advance(1_000)
    send(post())
    pool.close()
    await settle()
    assert.deepEqual(results, ['200', 'DOWNSTREAM_RESET unsent', 'DRAINING unsent'])
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('leaves a connection on which nothing was asked before its server does, and repeats what is lost on one', async () => {
    const { dialer, clock, pool, send, results } = setup()
    const spare = async (): Promise<FakeSocket> => {
      const [first, second] = [dialer.dials.length, dialer.dials.length + 1]
      send()
      send()
      await dialer.dials[first]!.connect()
      dialer.dials[first]!.socket.receive(ok)
      await settle()
      // The second got the first one's connection; what was dialled for it comes too late.
      dialer.dials[first]!.socket.receive(ok)
      await settle()
      await dialer.dials[second]!.connect()
      assert.deepEqual(pool.size, { open: 2, idle: 2, active: 0, waiting: 0 })
      return dialer.dials[second]!.socket
    }
    const lost = await spare()
    send()
    assert.match(lost.sent, /GET/)
    lost.destroy()
    await settle()
    await dialer.dials[2]!.connect()
    dialer.dials[2]!.socket.receive(ok)
    await settle()
    assert.deepEqual(results, ['200', '200', '200'])
    await clock.advance(60_000)
    const old = await spare()
    await clock.advance(5_001)
    send()
    assert.equal(old.sent, '')
    assert.equal(old.destroyed, true)
  })

  it('does not use a connection past its time, swept or not', async () => {
    const { dialer, clock, pool, send } = setup()
    send()
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok')
    await settle()
    await clock.advance(4_100)
    send(post())
    assert.equal(dialer.dials.length, 2)
    await settle()
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 1 })
  })

  it('who speaks before it was asked is no upstream', async () => {
    const { dialer, pool, send, results } = setup()
    send()
    dialer.dials[0]!.socket.receive('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale')
    await dialer.dials[0]!.connect()
    assert.deepEqual(results, ['UPSTREAM_PROTOCOL unsent'])
    assert.equal(dialer.dials[0]!.socket.destroyed, true)
    assert.equal(pool.size.open, 0)
  })

  it('nor who speaks between requests', async () => {
    const { dialer, pool, send, results } = setup()
    send()
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    dialer.dials[0]!.socket.receive('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale')
    await settle()
    assert.deepEqual(results, ['200'])
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('takes no body over TLS that only the end of the connection would end', async () => {
    for (const encrypted of [true, false]) {
      const { dialer, send, results } = setup()
      send()
      if (encrypted) Object.assign(dialer.dials[0]!.socket, { encrypted })
      await dialer.dials[0]!.connect()
      dialer.dials[0]!.socket.receive('HTTP/1.1 200 OK\r\n\r\nabc')
      await settle()
      assert.deepEqual(results, [encrypted ? 'UPSTREAM_PROTOCOL' : '200'])
    }
  })

  it('closing refuses who waits, lets who is under way end, and takes nobody new', async () => {
    const { dialer, pool, send, results } = setup({ connectionsMax: 1 })
    send()
    const second = send()
    await dialer.dials[0]!.connect()
    pool.close()
    await settle()
    assert.deepEqual(results, ['pending', 'DRAINING unsent'])
    assert.equal(second.waiting, undefined)
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    assert.equal(results[0], '200')
    assert.equal(dialer.dials[0]!.socket.destroyed, true)
    send()
    await settle()
    assert.equal(results[2], 'DRAINING unsent')
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('closing counts idle connections out once', async () => {
    const { dialer, pool, send } = setup()
    send()
    await dialer.dials[0]!.connect()
    dialer.dials[0]!.socket.receive(ok)
    await settle()
    pool.close()
    await settle()
    assert.deepEqual(pool.size, { open: 0, idle: 0, active: 0, waiting: 0 })
  })

  it('a connection that arrives after the end is not kept', async () => {
    const { dialer, pool, send, results } = setup()
    send()
    pool.close()
    await dialer.dials[0]!.connect()
    assert.deepEqual(results, ['DRAINING unsent'])
    assert.equal(dialer.dials[0]!.socket.destroyed, true)
  })
})
