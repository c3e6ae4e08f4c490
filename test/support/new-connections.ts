import { connect } from 'node:net'
import { sleep, systemClock, type Timer } from '../../src/base/clock.ts'

/** A request that got no whole answer of 200. Times are monotonic milliseconds. */
export interface FailedRequest {
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly why: string
}

export interface NewConnectionsOptions {
  /** Outbound listener of a sidecar. */
  readonly host: string
  readonly port: number
  /** What is asked for, in absolute form. */
  readonly url: string
  readonly ratePerSecond: number
}

const tickMs = 4
const answerTimeoutMs = 10_000
// After a minute at 500 a second one address would be out of ports (28,232, each kept for a minute in TIME_WAIT).
const sourceAddresses = 8

/**
 * Open-loop load in which each request has a connection of its own: it leaves at its time whatever comes back, so an
 * outage cannot hide behind fewer requests.
 */
export class NewConnections {
  readonly failures: FailedRequest[] = []
  succeeded = 0
  readonly #options: NewConnectionsOptions
  readonly #request: string
  #timer: Timer | undefined
  #startedAt = 0
  #sent = 0
  #inFlight = 0

  constructor(options: NewConnectionsOptions) {
    this.#options = options
    const { host } = new URL(options.url)
    this.#request = `GET ${options.url} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
    this.#startedAt = performance.now()
    this.#timer = systemClock.every(tickMs, () => this.#tick())
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Whole answers a second from a count that was taken at a time until now. */
  rateSince(succeeded: number, atMs: number): number {
    return ((this.succeeded - succeeded) * 1_000) / (performance.now() - atMs)
  }

  /** Resolves once so many more were answered. */
  async answered(more: number): Promise<void> {
    const until = this.succeeded + more
    while (this.succeeded < until) await sleep(systemClock, tickMs)
  }

  /** Sends no more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    while (this.#inFlight > 0) await sleep(systemClock, tickMs)
  }

  #tick(): void {
    const due = Math.floor(((performance.now() - this.#startedAt) / 1_000) * this.#options.ratePerSecond)
    while (this.#sent < due) this.#send()
  }

  #send(): void {
    const { host, port } = this.#options
    const startedAtMs = performance.now()
    const last = (this.#sent++ % sourceAddresses) + 1
    this.#inFlight++
    let text = ''
    let why = ''
    const socket = connect({ host, port, localAddress: `127.0.0.${last}`, timeout: answerTimeoutMs })
    socket.setEncoding('latin1')
    socket.once('connect', () => socket.write(this.#request))
    socket.on('data', (chunk: string) => {
      text += chunk
    })
    socket.once('timeout', () => socket.destroy(new Error(`no answer in ${answerTimeoutMs} ms`)))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      why = error.code ?? error.message
    })
    socket.once('close', () => {
      this.#inFlight--
      why ||= fault(text)
      if (why === '') this.succeeded++
      else this.failures.push({ startedAtMs, endedAtMs: performance.now(), why })
    })
  }
}

/** What is wrong with an answer; empty when it is a whole 200. */
function fault(text: string): string {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return `closed after ${text.length} bytes`
  const head = text.slice(0, end)
  if (!head.startsWith('HTTP/1.1 200 ')) {
    return `${head.slice(0, head.indexOf('\r\n'))} ${/x-outrigger-reason: .*/i.exec(head)?.[0] ?? ''}`
  }
  const length = Number(/^content-length: (\d+)\r?$/im.exec(head)?.[1])
  const bytes = text.length - end - 4
  return length === bytes ? '' : `${bytes} bytes of ${length}`
}
