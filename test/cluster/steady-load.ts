/** Requests at a steady rate from within a Pod, by a client that repeats nothing; every one that is not answered 200 is told. */
import type { Namespace } from './namespace.ts'
import { PodProcess } from './pod-process.ts'

export interface LoadOutcome {
  readonly sent: number
  readonly ok: number
  /** `503 x-outrigger-reason`, or an error's code, with how often and when first (seconds after the start). */
  readonly failures: readonly { readonly what: string; readonly times: number; readonly firstAt: number }[]
}

export interface LoadOrder {
  readonly url: string
  readonly ratePerSecond: number
  /** Connections that are kept; each new request takes one that is idle, or opens one. Default 40. */
  readonly connections?: number
  /** `deployment/client` and its container. */
  readonly from?: string
  readonly container?: string
}

/** Runs in the Pod. Ends when its stdin does, and says then what came of each request. */
const source = `
const http = require('node:http')
const { url, ratePerSecond, connections } = JSON.parse(process.argv[1])
const agent = new http.Agent({ keepAlive: true, maxSockets: connections })
const started = performance.now(), failures = new Map()
let sent = 0, ok = 0, open = 0, ending = false
const fail = (what) => {
  const known = failures.get(what) ?? { what, times: 0, firstAt: (performance.now() - started) / 1000 }
  known.times++
  failures.set(what, known)
}
const end = () => {
  if (ending && open === 0) { console.log(JSON.stringify({ sent, ok, failures: [...failures.values()] })); process.exit(0) }
}
const ask = () => {
  sent++; open++
  let over = false
  const done = (what) => {
    if (over) return
    over = true; open--
    if (what === undefined) ok++; else fail(what)
    end()
  }
  const request = http.get(url, { agent, timeout: 10000 }, (response) => {
    let text = ''
    response.setEncoding('utf8').on('data', (chunk) => { text = (text + chunk).slice(0, 300) })
    response.on('end', () => done(response.statusCode === 200 ? undefined : response.statusCode + ' ' + (response.headers['x-outrigger-reason'] ?? '') + ' ' + text.trim()))
    response.on('error', (error) => done('body: ' + (error.code ?? error.message)))
  })
  request.on('timeout', () => request.destroy(new Error('no answer within 10 s')))
  request.on('error', (error) => done(error.code ?? error.message))
}
const ticker = setInterval(() => {
  const due = (performance.now() - started) / 1000 * ratePerSecond
  while (sent < due) ask()
}, 5)
console.log('started')
process.stdin.resume()
process.stdin.on('end', () => { clearInterval(ticker); ending = true; end() })
`

export class SteadyLoad implements AsyncDisposable {
  readonly #process: PodProcess

  private constructor(process: PodProcess) {
    this.#process = process
  }

  /** Resolves when the first request is about to leave. */
  static async start(namespace: Namespace, order: LoadOrder): Promise<SteadyLoad> {
    const { url, ratePerSecond, connections = 40, from = 'deployment/client', container = 'client' } = order
    const settings = JSON.stringify({ url, ratePerSecond, connections })
    const process = new PodProcess(namespace, from, container, ['node', '--eval', source, settings])
    await process.line()
    return new SteadyLoad(process)
  }

  /** Lets answers that are due come, then says what came of everything. */
  async stop(): Promise<LoadOutcome> {
    this.#process.end()
    return JSON.parse(await this.#process.line()) as LoadOutcome
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
  }
}

/** For messages. */
export function tellOutcome({ sent, ok, failures }: LoadOutcome): string {
  const lines = failures.map(({ what, times, firstAt }) => `  ${what} x ${times}, first after ${firstAt.toFixed(1)} s`)
  return [`${sent} sent, ${ok} answered 200`, ...lines].join('\n')
}
