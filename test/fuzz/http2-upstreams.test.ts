/**
 * Hostile upstreams of HTTP/2, with well-behaved clients (nghttp2) before them: whatever an upstream does, each request ends, an answer
 * that looks whole is one that was sent so, and nothing is left.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { describe, it } from 'node:test'
import type { Exchange } from '../../src/base/exchange.ts'
import { eventually } from '../support/control.ts'
import { http2Frames } from '../support/http2/app.ts'
import {
  data,
  flags,
  frame,
  goaway,
  headers,
  numbers,
  ping,
  reset,
  settings,
  types,
  windowUpdate,
} from '../support/http2/frames.ts'
import { block, type Field } from '../support/http2/hpack.ts'
import type { RawHttp2 } from '../support/http2/raw.ts'
import { startHttp2Relay } from '../support/http2-relay.ts'
import { type Chance, chance, one } from '../support/mutate.ts'
import { mutated } from './http2-sequences.ts'

const seed = 20_261_128
const times = Number(process.env['FUZZ_TIMES'] ?? '1')
const requests = 1_500 * times
const workers = 12

/** An answer that was sent to its end, in good order: how long its body was, and of which letter. */
interface Sent {
  readonly letter: string
  bytes: number
  whole: boolean
}

const letterOf = (path: string): string => String.fromCharCode(97 + (Number(path.slice(1)) % 26))

/** Answers one request, well or badly. What is whole and right is noted; everything else may only fail. */
function answer(peer: RawHttp2, stream: number, path: string, pick: Chance, note: (sent: Sent) => void): void {
  const sent: Sent = { letter: letterOf(path), bytes: 0, whole: false }
  note(sent)
  const out: Buffer[] = []
  const say = (fields: Field[], end = false): number =>
    out.push(headers(stream, block(fields), flags.endHeaders | (end ? flags.endStream : 0)))
  const wrong = pick(3) === 0 ? pick(18) : -1
  if (pick(8) === 0)
    say([
      [':status', '103'],
      ['link', '</a>'],
    ])
  if (wrong === 0) say([[':status', '101']])
  if (wrong === 1) say([['x-a', 'b']])
  if (wrong === 2) out.push(data(stream, 'too early'))
  if (wrong === 3) out.push(reset(stream, one(['REFUSED_STREAM', 'CANCEL', 'NO_ERROR', 'INTERNAL_ERROR'], pick)))
  const pieces = Array.from({ length: pick(5) }, () => pick(one([10, 3_000, 16_384], pick) + 1))
  const total = pieces.reduce((sum, bytes) => sum + bytes, 0)
  const fields: Field[] = [[':status', '200']]
  if (pick(2) === 0) fields.push(['content-length', String(wrong === 4 ? total + 1 : total)])
  if (wrong === 5) fields.push(['X-Upper', 'a'])
  if (wrong === 6) fields.push(['transfer-encoding', 'chunked'])
  const trailers = pick(3) === 0
  if (pieces.length === 0 && !trailers) say(fields, true)
  else {
    say(fields)
    for (const [i, bytes] of pieces.entries()) {
      if (wrong === 7 && i === 1) out.push(reset(stream, 'CANCEL'))
      if (wrong === 8 && i === 1)
        out.push(goaway(pick(2) === 0 ? stream : 0, one(['NO_ERROR', 'ENHANCE_YOUR_CALM'], pick)))
      if (wrong === 9 && i === 1) say([['x-trailer', 'that ends nothing']])
      if (pick(6) === 0)
        out.push(
          windowUpdate(one([0, stream], pick), 1 + pick(1_000)),
          ping(),
          settings({ initialWindowSize: one([1_000, 65_535], pick) }),
        )
      const body = Buffer.from(sent.letter.repeat(bytes))
      const end = !trailers && i === pieces.length - 1 ? flags.endStream : 0
      if (pick(4) === 0 && bytes < 16_000) {
        const padding = pick(256)
        const padded = Buffer.concat([Buffer.from([padding]), body, Buffer.alloc(padding)])
        out.push(frame(types.data, end | flags.padded, stream, padded))
      } else out.push(frame(types.data, end, stream, body))
    }
    if (trailers) out.push(headers(stream, block(wrong === 10 ? [[':status', '200']] : [['x-sum', 'y']])))
    if (wrong === 11) out.push(data(stream, 'behind its end'))
  }
  if (wrong === 12) out.push(frame(types.push, 4, stream, Buffer.concat([numbers(2), block([[':path', '/']])])))
  if (wrong === 13) out.push(frame(types.data, 0, 0, Buffer.from('x')))
  if (wrong === 14) out.push(windowUpdate(0, 0x7fff_ffff))
  if (wrong === 15) out.push(headers(stream + 100, block([[':status', '200']])))
  sent.bytes = total
  // A NO_ERROR that overtakes nothing may still let a whole answer through.
  sent.whole =
    wrong === -1 ||
    wrong === 11 ||
    wrong >= 12 ||
    wrong === 8 ||
    (wrong === 4 && !fields.some(([name]) => name === 'content-length')) ||
    (wrong === 7 || wrong === 9 ? pieces.length < 2 : false) ||
    (wrong === 10 && !trailers)
  let bytes: Buffer = Buffer.concat(out)
  if (wrong === 16) {
    bytes = mutated(bytes, pick)
    sent.bytes = -1
  }
  sendInPieces(peer, bytes, pick)
  // Behind a frame of the wrong length nothing more is read: it does not stay so.
  if (wrong >= 16) setImmediate(() => setImmediate(() => peer.socket.destroy()))
}

const queues = new WeakMap<RawHttp2, Buffer>()

/** Cut anywhere, with turns of the event loop between; what follows stays behind it. */
function sendInPieces(peer: RawHttp2, bytes: Buffer, pick: Chance): void {
  const queued = queues.get(peer)
  queues.set(peer, Buffer.concat([queued ?? Buffer.alloc(0), bytes]))
  if (queued !== undefined) return
  const pump = (): void => {
    const all = queues.get(peer)!
    const size = pick(3) === 0 ? 1 + pick(all.length) : all.length
    peer.send(all.subarray(0, size))
    if (size === all.length) queues.delete(peer)
    else {
      queues.set(peer, all.subarray(size))
      setImmediate(pump)
    }
  }
  setImmediate(pump)
}

describe('hostile upstreams of HTTP/2', () => {
  it(`each request ends, whole answers are whole, nothing is left (seed ${seed})`, {
    timeout: 120_000 * times,
  }, async () => {
    const notes = new Map<string, Sent[]>()
    const sockets = new Set<net.Socket>()
    let picked = 0
    const accept = http2Frames(
      (peer, stream) => {
        const path = paths.get(peer)?.get(stream) ?? '/0'
        answer(peer, stream, path, chance(seed + picked++), (sent) => {
          const list = notes.get(path)
          if (list === undefined) notes.set(path, [sent])
          else list.push(sent)
        })
      },
      (peer) => {
        const ask = peer.onRequest!
        const own = new Map<number, string>()
        paths.set(peer, own)
        peer.onRequest = (stream, fields) => {
          own.set(stream, fields.find(([name]) => name === ':path')![1])
          ask(stream, fields)
        }
        // Cut answers in two turns must not have acknowledgements between them.
        peer.polite = false
        peer.send(settings({ maxConcurrentStreams: 5 + (picked % 20) }), windowUpdate(0, 0x3fff_0000))
      },
    )
    const paths = new Map<RawHttp2, Map<number, string>>()
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
      accept(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const completed = new Map<Exchange, number>()
    const problems: string[] = []
    let whole = 0
    {
      await using relay = await startHttp2Relay((server.address() as net.AddressInfo).port, {
        layer: (next) => (exchange) => {
          exchange.onComplete = () => completed.set(exchange, (completed.get(exchange) ?? 0) + 1)
          return next(exchange)
        },
      })
      let asked = 0
      await Promise.all(
        Array.from({ length: workers }, async (_, worker) => {
          const client = http2.connect(`http://127.0.0.1:${relay.port}`)
          client.on('error', () => {})
          const pick = chance(seed + 2_000_000 + worker)
          while (asked < requests && problems.length < 10 && !client.destroyed) {
            const path = `/${asked++}`
            const method = pick(4) === 0 ? 'POST' : 'GET'
            const got = await call(client, path, method, pick)
            const sent = notes.get(path) ?? []
            if (got.status === -1) problems.push(`${method} ${path} hangs, sent ${JSON.stringify(sent)}`)
            if (got.status !== 200 || got.code !== 0) continue
            whole++
            const fits = sent.some(
              ({ letter, bytes, whole: all }) => bytes === -1 || (all && got.body === letter.repeat(bytes)),
            )
            if (!fits)
              problems.push(`${method} ${path}: ${got.body.length} bytes look whole, sent ${JSON.stringify(sent)}`)
          }
          client.destroy()
        }),
      )
      assert.deepEqual(problems, [])
      assert.ok(whole > requests / 3, `only ${whole} of ${asked} came whole`)
      await eventually(() => relay.engines.connections === 0, 'no client is connected')
      await eventually(
        () => relay.pools.sizes().every(({ active, waiting }) => active === 0 && waiting === 0),
        'no stream is left',
      )
      assert.deepEqual([...new Set(relay.exchanges.map((exchange) => completed.get(exchange)))], [1])
      relay.pools.close()
      await eventually(() => sockets.size === 0, 'no connection to the upstream is left')
    }
    server.close()
  })
})

interface Got {
  readonly status: number
  /** Of RST_STREAM; 0: its answer looks whole. */
  readonly code: number
  readonly body: string
}

function call(client: http2.ClientHttp2Session, path: string, method: string, pick: Chance): Promise<Got> {
  return new Promise((resolve) => {
    const stream = client.request({ ':method': method, ':path': path })
    let status = 0
    let body = ''
    stream.on('response', (fields) => (status = Number(fields[':status'])))
    stream.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')))
    stream.on('error', () => {})
    stream.on('close', () => resolve({ status, code: stream.rstCode ?? -1, body }))
    if (method === 'POST') stream.end(Buffer.alloc(pick(one([100, 50_000], pick))))
    // None may hang; some think better of it at once.
    const late = setTimeout(() => resolve({ status: -1, code: -1, body: 'hangs' }), 10_000)
    stream.on('close', () => clearTimeout(late))
    if (pick(15) === 0) setImmediate(() => stream.close(http2.constants.NGHTTP2_CANCEL))
  })
}
