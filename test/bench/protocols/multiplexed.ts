import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import { sleep } from '../../../src/base/clock.ts'
import type { Bench, Cell, Running } from '../cell.ts'
import { BenchFailure } from '../failure.ts'
import { grpcPaths, grpcRequest, messageBytes, streamMessages } from '../grpc-requests.ts'
import { saturateHttp2 } from '../http2-load.ts'
import type { Load, Target } from '../load.ts'
import { over, type Protocol, reasonsOf, requestsOf, requireRunning, warmUp, watchSpans } from './window.ts'

/** One window: the request, how many streams a connection has, and what its figures are of. */
interface WindowSpec {
  readonly figure: string
  readonly streams: number
  readonly answerBytes: number
  /** What counts in one answer. */
  readonly perAnswer: number
  readonly target: (bench: Bench, running: Running) => Target
}

const plain: Omit<WindowSpec, 'figure' | 'streams'> = {
  answerBytes: 128,
  perAnswer: 1,
  target: (_bench, running) => running.target,
}

function call(name: keyof typeof grpcPaths, messages: number): Omit<WindowSpec, 'figure' | 'streams'> {
  return {
    answerBytes: messages * messageBytes,
    perAnswer: messages,
    target: ({ workFolder }, { target }) => ({
      url: new URL(grpcPaths[name], target.url).href,
      headers: { ...target.headers, 'content-type': 'application/grpc', te: 'trailers' },
      post: grpcRequest(workFolder, name),
    }),
  }
}

/** Requests as of HTTP/1.1, ten and one at a time on each connection. */
export const multiplexed = closedLoop([
  { figure: 'streams10', streams: 10, ...plain },
  { figure: 'streams1', streams: 1, ...plain },
])

/** Calls of gRPC: unary ones, ten and one at a time on each connection, then streams of a thousand messages. */
export const calls = closedLoop([
  { figure: 'unary10', streams: 10, ...call('unary', 1) },
  { figure: 'unary1', streams: 1, ...call('unary', 1) },
  { figure: 'messages', streams: 1, ...call('stream', streamMessages) },
])

/** Closed loop, one window after another in one start: `FIGUREUs` of CPU each, and `FIGUREPerCpuSecond`. */
function closedLoop(windows: readonly WindowSpec[]): Protocol {
  return async (bench, cell, { seconds, warmupSeconds, connections }) => {
    const running = await startAnswering(bench, cell, windows[0]!)
    const spansOf = await watchSpans(bench, cell)
    const load = ({ target, streams, answerBytes }: WindowSpec, duration: number): Promise<Load> => {
      const how = { connections, streams, answerBytes, seconds: duration }
      return saturateHttp2(bench.tools, bench.restCpu, target(bench, running), how)
    }
    const all = await warmUp(running, warmupSeconds, (duration) => load(windows[0]!, duration))
    const figures: Record<string, number> = {}
    let disturbed = 0
    for (const one of windows) {
      const window = await over(bench, running, () => load(one, seconds))
      all.push(window.load)
      disturbed = Math.max(disturbed, window.disturbed)
      const count = window.load.requests * one.perAnswer
      figures[`${one.figure}PerSecond`] = count / seconds
      if (running.measured.length === 0) continue
      figures[`${one.figure}Us`] = (window.cpuSeconds / count) * 1e6
      figures[`${one.figure}PerCpuSecond`] = count / window.cpuSeconds
      figures['rssBytes'] = Math.max(figures['rssBytes'] ?? 0, window.memory.rss)
    }
    return { figures, disturbed, reasons: [...reasonsOf(all), ...(await spansOf(requestsOf(all)))] }
  }
}

/** Starts the cell and resolves when one request has brought back as many bytes as the backend sends. */
async function startAnswering(bench: Bench, cell: Cell, first: WindowSpec): Promise<Running> {
  const running = await cell.start(bench)
  const target = first.target(bench, running)
  const until = bench.clock.now() + 60_000
  for (;;) {
    requireRunning(running)
    const got = await ask(target).catch((error: unknown) => String(error))
    if (got === first.answerBytes) return running
    if (bench.clock.now() > until)
      throw new BenchFailure(`${target.url} gave ${got}, the backend sends ${first.answerBytes} bytes`)
    await Promise.race([sleep(bench.clock, 50), ...running.started.map(({ gone }) => gone)])
  }
}

/** Bytes of a good answer; of another one, what was wrong with it. */
async function ask({ url, headers, post }: Target): Promise<number | string> {
  const { Host: authority, ...fields } = headers
  const { origin, pathname } = new URL(url)
  const session = http2.connect(origin)
  try {
    await once(session, 'connect')
    const method = post === undefined ? 'GET' : 'POST'
    const stream = session.request({ ...fields, ':method': method, ':path': pathname, ':authority': authority })
    let [bytes, status, call] = [0, '', '0']
    stream.on('response', (head) => {
      status = String(head[':status'])
      call = String(head['grpc-status'] ?? call)
    })
    stream.on('trailers', (trailers) => (call = String(trailers['grpc-status'] ?? call)))
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length))
    stream.end(post === undefined ? undefined : readFileSync(post))
    await once(stream, 'close')
    return status === '200' && call === '0' ? bytes : `status ${status}, grpc-status ${call}`
  } finally {
    session.destroy()
  }
}
