/**
 * Many clients at once through both engines, in every pair of versions: uploads and downloads of random sizes, verified to the byte,
 * with cancels, resets, slow readers, GOAWAY and new connections between. Then everything is empty, and memory is as before.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type net from 'node:net'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Exchange } from '../../src/base/exchange.ts'
import { eventually } from '../support/control.ts'
import { startHttp2Server } from '../support/http2/app.ts'
import { type Http2Relay, startHttp2Relay } from '../support/http2-relay.ts'
import { type Chance, chance, one } from '../support/mutate.ts'

const seed = 20_261_128
const times = Number(process.env['FUZZ_TIMES'] ?? '1')
const clients = 200
const requestsEach = 4 * times

/** Bytes that nobody can mistake for others: of their request, and of their place in it. */
function pattern(of: number, bytes: number): Buffer {
  const all = Buffer.allocUnsafe(bytes)
  for (let at = 0; at < bytes; at++) all[at] = (of * 31 + at + (at >>> 8)) & 0xff
  return all
}

interface Plan {
  readonly id: number
  readonly up: number
  readonly down: number
  /** What goes wrong: the client cancels, reads slowly, or the server resets. */
  readonly fate: 'none' | 'cancel' | 'slow' | 'reset'
}

let ids = 0
function plan(pick: Chance): Plan {
  const size = (): number => pick(one([1, 1_000, 20_000, 80_000], pick))
  return {
    id: ids++,
    up: size(),
    down: size(),
    fate: one(['none', 'none', 'none', 'cancel', 'slow', 'reset'] as const, pick),
  }
}

const pathOf = ({ id, up, down, fate }: Plan): string => `/${id}/${up}/${down}/${fate}`
function planOf(path: string): Plan {
  const [, id, up, down, fate] = path.split('/')
  return { id: Number(id), up: Number(up), down: Number(down), fate: fate as Plan['fate'] }
}

/** Uploads and downloads that were wrong. */
const problems: string[] = []
/** Answers that came to the byte. */
let wholes = 0

/** Checks the upload, then answers; part of the answer comes before the upload is whole now and then. */
function answer(
  made: Plan,
  body: NodeJS.ReadableStream,
  respond: () => NodeJS.WritableStream,
  reset: () => void,
): void {
  const got: Buffer[] = []
  body.on('data', (chunk: Buffer) => got.push(chunk))
  body.on('end', () => {
    if (!Buffer.concat(got).equals(pattern(made.id, made.up)))
      problems.push(`upload of ${pathOf(made)} is not what was sent`)
    const out = respond()
    const bytes = pattern(made.id + 1, made.down)
    if (made.fate !== 'reset') {
      out.end(bytes)
      return
    }
    out.write(bytes.subarray(0, made.down >>> 1))
    setImmediate(reset)
  })
}

interface Upstream extends Disposable {
  readonly port: number
  goaway(): void
}

async function upstream2(): Promise<Upstream> {
  const server = await startHttp2Server(
    (stream, headers) => {
      const respond = (): NodeJS.WritableStream => {
        if (!stream.destroyed && !stream.closed) stream.respond({ ':status': 200 })
        return stream
      }
      answer(planOf(String(headers[':path'])), stream, respond, () => stream.destroy(new Error('broken')))
    },
    { settings: { maxConcurrentStreams: 50 } },
  )
  return {
    port: server.port,
    goaway: () => {
      for (const session of server.sessions) session.close()
    },
    [Symbol.dispose]: () => server[Symbol.dispose](),
  }
}

async function upstream1(): Promise<Upstream> {
  const server = http.createServer((request, response) => {
    answer(
      planOf(request.url!),
      request,
      () => response.writeHead(200),
      () => response.destroy(),
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    goaway: () => server.closeIdleConnections(),
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** What came of a request: its answer, undefined when it did not become whole, or what the relay said in its place. */
type Outcome = Buffer | string | undefined

function outcome(status: number | undefined, chunks: readonly Buffer[]): Outcome {
  const body = Buffer.concat(chunks)
  return status === 200 ? body : body.toString()
}

/** A body that flows cannot be sent again when the upstream goes away before it has taken it. */
const wentAway = /^UPSTREAM_RESET: .* goes away/

function call2(client: http2.ClientHttp2Session, made: Plan): Promise<Outcome> {
  return new Promise((resolve) => {
    const stream = client.request({ ':method': 'POST', ':path': pathOf(made) })
    const chunks: Buffer[] = []
    let status = 0
    stream.on('response', (headers) => (status = Number(headers[':status'])))
    stream.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      if (made.fate === 'cancel') stream.close(http2.constants.NGHTTP2_CANCEL)
      if (made.fate !== 'slow') return
      stream.pause()
      setTimeout(() => stream.resume(), 2)
    })
    stream.on('error', () => {})
    stream.on('close', () => resolve(stream.rstCode === 0 ? outcome(status, chunks) : undefined))
    stream.end(pattern(made.id, made.up))
  })
}

function call1(agent: http.Agent, port: number, made: Plan): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = http.request({ port, host: '127.0.0.1', method: 'POST', path: pathOf(made), agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        if (made.fate === 'cancel') request.destroy()
        if (made.fate !== 'slow') return
        response.pause()
        setTimeout(() => response.resume(), 2)
      })
      response.on('close', () => resolve(response.complete ? outcome(response.statusCode, chunks) : undefined))
      response.on('error', () => {})
    })
    request.on('error', () => resolve(undefined))
    request.end(pattern(made.id, made.up))
  })
}

/** One client: its requests at once; the second half of them on a new connection. */
async function client(relay: Http2Relay, version: 1 | 2, pick: Chance): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const plans = Array.from({ length: requestsEach / 2 }, () => plan(pick))
    let outcomes: Outcome[]
    if (version === 2) {
      const session = http2.connect(`http://127.0.0.1:${relay.port}`)
      session.on('error', () => {})
      outcomes = await Promise.all(plans.map((made) => call2(session, made)))
      if (pick(2) === 0) session.destroy()
      else session.close()
    } else {
      const agent = new http.Agent({ keepAlive: true })
      outcomes = await Promise.all(plans.map((made) => call1(agent, relay.port, made)))
      agent.destroy()
    }
    for (const [i, made] of plans.entries()) {
      const got = outcomes[i]
      if (made.fate === 'cancel' || (typeof got === 'string' && wentAway.test(got))) continue
      const whole = typeof got === 'object' && got.equals(pattern(made.id + 1, made.down))
      if (whole === (made.fate === 'reset'))
        problems.push(`${pathOf(made)}: ${typeof got === 'object' ? `${got.length} bytes came and look whole` : got}`)
      if (whole) wholes++
    }
  }
}

/** After the collector has run. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) collect()
  return process.memoryUsage().heapUsed + process.memoryUsage().external
}

describe('both engines under many clients', () => {
  for (const [from, to] of [
    [2, 2],
    [1, 2],
    [2, 1],
  ] as const) {
    it(`from HTTP/${from} to HTTP/${to}: to the byte, and nothing is left (seed ${seed})`, {
      timeout: 120_000 * times,
    }, async () => {
      problems.length = 0
      wholes = 0
      using upstream = to === 2 ? await upstream2() : await upstream1()
      await using relay = await startHttp2Relay(upstream.port, {
        upstreamHttp2: to === 2,
        layer: (next) => (exchange) => {
          const was = completed.get(exchange)
          completed.set(exchange, was ?? 0)
          exchange.onComplete = () => completed.set(exchange, completed.get(exchange)! + 1)
          return next(exchange)
        },
      })
      const completed = new Map<Exchange, number>()
      const round = async (many: number, at: number): Promise<void> => {
        // Twenty at a time; now and then the upstream goes away.
        let next = 0
        await Promise.all(
          Array.from({ length: 20 }, async () => {
            while (next < many) {
              const number = next++
              if (to === 2 && number % 25 === 24) upstream.goaway()
              await client(relay, from, chance(seed + at + number))
            }
          }),
        )
        await eventually(() => relay.engines.connections === 0, 'no client is connected')
        await eventually(
          () => relay.pools.sizes().every(({ active, waiting }) => active === 0 && waiting === 0),
          'no stream is left',
        )
        assert.deepEqual(problems, [])
        assert.deepEqual([...new Set(completed.values())], [1], 'each exchange completes once')
        completed.clear()
        relay.exchanges.length = 0
      }
      await round(clients / 4, 0)
      const before = heapBytes()
      await round(clients, 1_000)
      assert.ok(wholes > (clients * requestsEach) / 3, `only ${wholes} came whole`)
      const grown = heapBytes() - before
      assert.ok(grown < 4_000_000, `${grown} bytes more after ${clients} clients`)
    })
  }
})
