/**
 * Open-loop load: `open-loop.ts JSON` sends requests at fixed times over keep-alive connections, whether earlier ones
 * were answered or not, and prints counts and quantiles as JSON; with `reportSeconds` a line of counts so far as well.
 *
 * Each latency counts from the moment at which the request should have been sent (coordinated omission). A request that
 * finds every connection busy waits for one, and its wait counts; so does a delay of this process, and `lagP99Us` says
 * how large that was.
 */
import { systemClock } from '../../../src/base/clock.ts'
import { Answer } from './answers.ts'
import { Histogram } from './histogram.ts'
import { close, connectTo, PollSet, receive, sendAll, sharpenTimers } from './sockets.ts'

export interface OpenLoop {
  /** Ports on 127.0.0.1: request by request the next one. */
  readonly ports: readonly number[]
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly perSecond: number
  readonly connections: number
  readonly seconds: number
  readonly reportSeconds?: number
}

export interface OpenLoopCounts {
  readonly sent: number
  readonly ok: number
  readonly otherStatus: number
  /** Broken connections, and answers that did not come within `patienceMs` after the last request was due. */
  readonly failed: number
  readonly bytes: number
  readonly p50Us: number
  readonly p90Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly maxUs: number
  readonly lagP99Us: number
  /** Why the first failed one failed. */
  readonly firstFailure: string | undefined
}

const patienceMs = 5_000
/** Between the connections and the first request: the accepting side is at rest again. */
const settleMs = 100

class Connection {
  readonly port: number
  readonly answer = new Answer()
  fd: number
  busy = false
  dueAt = 0

  constructor(port: number) {
    this.port = port
    this.fd = connectTo('127.0.0.1', port)
  }
}

function run(options: OpenLoop): OpenLoopCounts {
  const { ports, path, headers, perSecond, seconds } = options
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  const connections = Array.from({ length: options.connections }, (_, i) => new Connection(ports[i % ports.length]!))
  const poll = new PollSet(connections.length)
  for (const [i, connection] of connections.entries()) poll.set(i, connection.fd)
  // In turn, so that all of them are in use at any rate.
  const free = [...connections]
  const into = Buffer.allocUnsafe(256 * 1024)
  const latency = new Histogram()
  const lag = new Histogram()
  const total = Math.round(perSecond * seconds)
  /** Since when there has been a connection without a request. */
  let freeSince = 0
  let [sent, done, ok, otherStatus, failed, bytes] = [0, 0, 0, 0, 0, 0]
  let firstFailure: string | undefined

  sharpenTimers()
  const begin = systemClock.now() + settleMs
  const dueAt = (index: number): number => begin + (index * 1000) / perSecond
  const giveUpAt = dueAt(total) + patienceMs
  let reportAt = begin + (options.reportSeconds ?? Number.POSITIVE_INFINITY) * 1000

  while (done < total) {
    let now = systemClock.now()
    if (now > giveUpAt) {
      fail(`no answer ${patienceMs} ms after the last request was due`, total - done)
      break
    }
    while (sent < total && free.length > 0 && dueAt(sent) <= now) {
      const connection = free.shift()!
      connection.dueAt = dueAt(sent)
      connection.busy = true
      // Waiting for a free connection is the proxy's delay; what is late although there is one, is ours.
      lag.add((now - Math.max(connection.dueAt, freeSince)) * 1000)
      sent += 1
      connection.answer.reset()
      if (!sendAll(connection.fd, request)) broken(connection, 'a request was not taken whole')
      now = systemClock.now()
    }
    const untilDue = sent < total && free.length > 0 ? Math.max(0, dueAt(sent) - now) : 100
    const ready = poll.wait(untilDue)
    for (let i = 0, left = ready; left > 0 && i < connections.length; i++) {
      if (!poll.isReady(i)) continue
      left -= 1
      read(connections[i]!)
    }
    if (now >= reportAt) {
      reportAt += options.reportSeconds! * 1000
      process.stdout.write(`${JSON.stringify(counts())}\n`)
    }
  }
  for (const { fd } of connections) close(fd)
  return counts()

  function read(connection: Connection): void {
    const length = receive(connection.fd, into)
    if (length === -1) return
    if (length <= 0) {
      const why = length === 0 ? 'the peer closed the connection' : 'the connection broke'
      if (connection.busy) broken(connection, why)
      else reconnect(connection)
      return
    }
    bytes += length
    if (!connection.busy) throw new Error('an answer that nobody asked for')
    if (!connection.answer.add(into, length)) return
    latency.add((systemClock.now() - connection.dueAt) * 1000)
    done += 1
    const { status } = connection.answer
    if (status >= 200 && status < 300) ok += 1
    else otherStatus += 1
    release(connection)
  }

  function broken(connection: Connection, why: string): void {
    fail(why, 1)
    done += 1
    reconnect(connection)
    release(connection)
  }

  function release(connection: Connection): void {
    if (free.length === 0) freeSince = systemClock.now()
    connection.busy = false
    free.push(connection)
  }

  /** An idle connection that the peer closes is no failure; one that cannot be had again is the end. */
  function reconnect(connection: Connection): void {
    close(connection.fd)
    connection.fd = connectTo('127.0.0.1', connection.port)
    poll.set(connections.indexOf(connection), connection.fd)
  }

  function fail(why: string, count: number): void {
    failed += count
    firstFailure ??= why
  }

  function counts(): OpenLoopCounts {
    return {
      sent,
      ok,
      otherStatus,
      failed,
      bytes,
      p50Us: latency.quantile(0.5),
      p90Us: latency.quantile(0.9),
      p99Us: latency.quantile(0.99),
      p999Us: latency.quantile(0.999),
      maxUs: latency.max,
      lagP99Us: lag.quantile(0.99),
      firstFailure,
    }
  }
}

if (import.meta.main) {
  process.stdout.write(`${JSON.stringify(run(JSON.parse(process.argv[2] ?? '{}') as OpenLoop))}\n`)
}
