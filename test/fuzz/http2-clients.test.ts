/**
 * Sequences of frames from hostile clients, before a well-behaved upstream, with nghttp2's server as an oracle: what it serves and we
 * refuse, and the other way round, is either in the table below or a fault. Behind it all nothing is left.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Exchange } from '../../src/base/exchange.ts'
import { eventually } from '../support/control.ts'
import { Http2App, type Seen } from '../support/http2/app.ts'
import { frame, ping, types } from '../support/http2/frames.ts'
import { RawHttp2, requestFields } from '../support/http2/raw.ts'
import { type Http2Relay, startHttp2Relay } from '../support/http2-relay.ts'
import { type Chance, chance } from '../support/mutate.ts'
import { mutated, type Sequence, sequence } from './http2-sequences.ts'

const seed = 20_261_128
/** A hundred for a night: `FUZZ_TIMES=100`. */
const times = Number(process.env['FUZZ_TIMES'] ?? '1')
const workers = 8

/** What nghttp2 serves, or goes on after, and we do not. */
const stricter: Readonly<Record<string, string>> = {
  'a control character': '8.2.1: malformed; nghttp2 drops the field',
  'a blank at the end of a value': '8.2.1: malformed; nghttp2 takes it',
  'Host that is not :authority': '8.3.1: two readers, two answers: 400',
  'a scheme of its own': 'what is not of HTTP goes nowhere: 400',
  'an Expect that nobody knows': 'RFC 9110 10.1.1: 417; the application of the oracle does not look',
  'a stream that depends on itself': 'RFC 7540 5.3.1, as h2spec wants it; nghttp2 ignores priorities',
  'a stream that goes back': '5.1.1: an error of the connection; nghttp2 passes it over',
  'more padding than frame': '6.1: an error of the connection, also on a stream that has ended',
  'DATA on a stream that has ended':
    '5.1: of the stream or, once it is gone, of the connection; nghttp2 has its own time for either',
  'HEADERS on a stream that has ended': '5.1: the same',
}
/** The reverse: we end the stream, as the RFC says, where nghttp2 ends the connection. */
const laxer: Readonly<Record<string, string>> = {
  'WINDOW_UPDATE of nothing': '6.9: an error of the stream',
  'a window over 2^31-1': '6.9.1: an error of the stream',
  'DATA on a stream that has ended': '5.1: an error of the stream as long as its answer is under way',
  'HEADERS on a stream that has ended': '5.1: the same',
}

interface Outcome {
  readonly goaway: string | undefined
  /** Streams with a whole answer of 200. */
  readonly served: Set<number>
  readonly hung: boolean
}

/** All of it, in pieces, and what became of it. */
async function play(port: number, bytes: Buffer, ended: Iterable<number>, pick: Chance): Promise<Outcome> {
  using client = await RawHttp2.open({ port }, {})
  const streams = [...ended]
  for (let at = 0; at < bytes.length; ) {
    const size = pick(3) === 0 ? 1 + pick(20) : 1 + pick(5_000)
    // Its own acknowledgements would fall into the middle of a frame.
    client.polite = false
    client.send(bytes.subarray(at, at + size))
    at += size
    if (pick(4) === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const isOver = (): boolean =>
    client.ended !== undefined ||
    (client.frames.some(({ type, flags, payload }) => type === types.ping && flags === 1 && payload[0] === 7) &&
      streams.every((stream) => client.answer(stream).over))
  client.send(ping(false, Buffer.alloc(8, 7)))
  const hung = !(await client.until(isOver, 5_000))
  const served = new Set(
    streams.filter((stream) => {
      const { status, body, over } = client.answer(stream)
      return over && status === 200 && body === 'ok'
    }),
  )
  const error = client.goaway?.error
  return { goaway: error === 'NO_ERROR' ? undefined : error, served, hung }
}

interface Setup {
  readonly app: Http2App
  readonly relay: Http2Relay
  readonly completed: Map<Exchange, number>
}

/** Others are served, whatever goes on beside them. */
async function serve(relay: Http2Relay): Promise<void> {
  using other = await RawHttp2.open({ port: relay.port })
  const { status, body } = await other.whole(other.request(requestFields({ path: '/other' })))
  assert.deepEqual([status, body], [200, 'ok'])
}

/** Nothing is left of it: no stream, no waiter, no connection of a client; each exchange has completed once. */
async function empty({ relay, completed, app }: Setup): Promise<void> {
  await eventually(() => relay.engines.connections === 0, 'no client is connected')
  await eventually(
    () => relay.pools.sizes().every(({ active, waiting }) => active === 0 && waiting === 0),
    `no stream is left: ${JSON.stringify(relay.pools.sizes())}`,
  )
  await eventually(() => app.open === 0, 'no stream is left at the application')
  const counts = relay.exchanges.map((exchange) => completed.get(exchange) ?? 0)
  assert.deepEqual([...new Set(counts)], [1], 'each exchange completes once')
}

async function withSetup(test: (setup: Setup) => Promise<void>): Promise<void> {
  await using app = await Http2App.start({ maxSessionMemory: 1_000 })
  const completed = new Map<Exchange, number>()
  await using relay = await startHttp2Relay(app.port, {
    layer: (next) => (exchange) => {
      exchange.onComplete = () => completed.set(exchange, (completed.get(exchange) ?? 0) + 1)
      return next(exchange)
    },
  })
  await test({ app, relay, completed })
}

/** What is wrong with what the application got. */
function judge(seen: readonly Seen[], { bodies }: Sequence): string[] {
  const problems: string[] = []
  const paths = new Set<string>()
  for (const { path, body, whole } of seen) {
    const sent = bodies.get(path)
    if (sent === undefined) problems.push(`nobody asked for ${path}`)
    else if (whole ? sent.body !== body || !sent.ended : !sent.body.startsWith(body))
      problems.push(`${path} got ${body.length} bytes of ${sent.body.length}, whole: ${whole}, ended: ${sent.ended}`)
    if (paths.has(path)) problems.push(`${path} came twice`)
    paths.add(path)
  }
  return problems
}

describe('sequences of frames from clients', () => {
  it(`right and wrong ones, with nghttp2 beside (seed ${seed})`, { timeout: 120_000 * times }, async () => {
    const rounds = 500 * times
    await using oracle = await Http2App.start()
    await withSetup(async (setup) => {
      const { app, relay } = setup
      const problems: string[] = []
      let played = 0
      let served = 0
      await Promise.all(
        Array.from({ length: workers }, async () => {
          while (played < rounds && problems.length < 10) {
            // Each round by itself, whatever the others beside it do.
            const pick = chance(seed + played)
            const name = `r${played++}`
            const made = sequence(name, pick, 2)
            const [ours, theirs] = await Promise.all([
              play(relay.port, made.bytes, made.ended.keys(), pick),
              play(oracle.port, made.bytes, made.ended.keys(), pick),
            ])
            served += ours.served.size
            const wrong = [...made.wrong]
            const said = `${name} [${wrong.join('; ')}]`
            if (ours.hung) problems.push(`${said}: hangs, with GOAWAY ${ours.goaway}`)
            if (ours.goaway !== theirs.goaway && (ours.goaway === undefined) !== (theirs.goaway === undefined)) {
              const known = ours.goaway === undefined ? laxer : stricter
              if (!wrong.some((what) => what in known))
                problems.push(`${said}: GOAWAY ${ours.goaway}, nghttp2 ${theirs.goaway}`)
            } else if (ours.goaway === undefined) {
              for (const stream of made.ended.keys()) {
                const [here, there] = [ours.served.has(stream), theirs.served.has(stream)]
                if (here && !there && !wrong.some((what) => what in laxer))
                  problems.push(`${said}: we serve ${stream}, nghttp2 does not`)
                if (!here && there && !wrong.some((what) => what in stricter))
                  problems.push(`${said}: nghttp2 serves ${stream}, we do not`)
              }
            }
            problems.push(
              ...judge(
                app.seen.filter(({ path }) => path.startsWith(`/${name}/`)),
                made,
              ).map((what) => `${said}: ${what}`),
            )
            if (played % 50 === 0) await serve(relay)
          }
        }),
      )
      assert.deepEqual(problems, [])
      assert.ok(served > rounds, `only ${served} requests were served`)
      await empty(setup)
    })
  })

  it(`bytes changed anywhere (seed ${seed})`, { timeout: 120_000 * times }, async () => {
    const rounds = 800 * times
    await withSetup(async (setup) => {
      const { relay } = setup
      let played = 0
      await Promise.all(
        Array.from({ length: workers }, async () => {
          while (played < rounds) {
            const pick = chance(seed + 1_000_000 + played)
            const bytes = mutated(sequence(`m${played++}`, pick, 1).bytes, pick)
            using client = await RawHttp2.open({ port: relay.port })
            client.polite = false
            client.send(bytes)
            // Most end by it; the others are cut off in the middle of whatever they are.
            client.send(frame(types.ping, 0, 1, Buffer.alloc(8)))
            await client.until(() => client.goaway !== undefined || client.ended !== undefined, pick(10) === 0 ? 0 : 30)
            if (played % 100 === 0) await serve(relay)
          }
        }),
      )
      await serve(relay)
      await empty(setup)
    })
  })
})
