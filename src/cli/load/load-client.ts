import http from 'node:http'
import { type Clock, sleep, type Timer } from '../../base/clock.ts'
import type { Tally } from './tally.ts'

/** One stream of requests. */
export interface LoadTarget {
  readonly url: URL
  readonly ratePerSecond: number
  readonly headers: Readonly<Record<string, string>>
  /** Where to connect: the explicit outbound port of a sidecar, or an address to dial as it is. */
  readonly via: { readonly is: 'proxy' | 'direct'; readonly host: string; readonly port: number }
}

/**
 * Open-loop load: requests leave at their rate whatever comes back, so a slow answer never hides how many were
 * refused meanwhile. Connections are kept alive. Through a proxy the target is sent in absolute form
 * (RFC 9112 section 3.2.2), as curl and Node's own proxy support do.
 */
export class LoadClient {
  readonly #target: LoadTarget
  readonly #clock: Clock
  readonly #agent: http.Agent
  #timer: Timer | undefined
  #inFlight = 0
  #idle: (() => void) | undefined

  constructor(target: LoadTarget, clock: Clock) {
    this.#target = target
    this.#clock = clock
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connectionsMax })
  }

  /** Sends until `pause`. Counts go to `tally`, those of answers that come after a pause too. */
  start(tally: Tally): void {
    const startedAt = this.#clock.now()
    let sent = 0
    this.#timer = this.#clock.every(tickMs, () => {
      const due = Math.floor(((this.#clock.now() - startedAt) / 1_000) * this.#target.ratePerSecond)
      while (sent < due) {
        sent++
        this.#send(tally)
      }
    })
  }

  /** Stops sending and waits for the answers that are due, `ms` at most. */
  async pause(ms = answerTimeoutMs): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#inFlight === 0) return
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#idle = resolve
      }),
      sleep(this.#clock, ms),
    ])
  }

  async close(): Promise<void> {
    await this.pause(0)
    this.#agent.destroy()
  }

  #send(tally: Tally): void {
    const { url, headers, via } = this.#target
    const sentAt = this.#clock.now()
    let ended = false
    const end = (): boolean => {
      if (ended) return false
      ended = true
      this.#inFlight--
      if (this.#inFlight === 0) {
        this.#idle?.()
        this.#idle = undefined
      }
      return true
    }
    this.#inFlight++
    tally.sent++
    const request = http.request({
      agent: this.#agent,
      host: via.host,
      port: via.port,
      path: via.is === 'proxy' ? url.href : url.pathname + url.search,
      headers: { host: url.host, ...headers },
      timeout: answerTimeoutMs,
    })
    request.on('timeout', () => request.destroy(new Error(`no answer within ${answerTimeoutMs / 1_000} s`)))
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (end()) tally.failed(error.code ?? error.message)
    })
    request.on('response', (response) => {
      response.resume()
      response.on('end', () => {
        if (!end()) return
        tally.answered(response.statusCode ?? 0, this.#clock.now() - sentAt, (name) => {
          const value = response.headers[name]
          return Array.isArray(value) ? value.join(', ') : value
        })
      })
      response.on('error', (error: NodeJS.ErrnoException) => {
        if (end()) tally.failed(error.code ?? error.message)
      })
    })
    request.end()
  }
}

// At 250 requests a second and answers of 2 s there are 500 under way; more connections than this is another problem.
const connectionsMax = 1_000
const tickMs = 5
const answerTimeoutMs = 30_000
