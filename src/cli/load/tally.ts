import { Latencies } from './latencies.ts'

/** What came back for one stretch of load, as the client saw it. Every request sent is counted once when it ends. */
export class Tally {
  sent = 0
  readonly byStatus = new Map<number, number>()
  /** Requests without a complete answer, by cause: `ECONNRESET`, `no answer within 30 s`, ... */
  readonly byError = new Map<string, number>()
  readonly latencies = new Latencies()
  #recent = new Latencies()
  readonly #headers = new Map<string, Map<string, number>>()

  /** `watchedHeaders`: response headers whose values are counted, in lower case. */
  constructor(watchedHeaders: readonly string[] = []) {
    for (const name of watchedHeaders) this.#headers.set(name, new Map())
  }

  answered(status: number, latencyMs: number, header: (name: string) => string | undefined): void {
    add(this.byStatus, status)
    this.latencies.record(latencyMs)
    this.#recent.record(latencyMs)
    for (const [name, values] of this.#headers) {
      const value = header(name)
      // A header with endless different values (an id) must not fill the memory.
      if (value !== undefined && (values.has(value) || values.size < valuesMax)) add(values, value)
    }
  }

  failed(cause: string): void {
    add(this.byError, cause)
  }

  /** The latencies since the last call. */
  takeRecent(): Latencies {
    const recent = this.#recent
    this.#recent = new Latencies()
    return recent
  }

  /** Complete answers, whatever their status. */
  get answers(): number {
    return total(this.byStatus)
  }

  get failures(): number {
    return total(this.byError)
  }

  /** Requests that ended. */
  get ended(): number {
    return this.answers + this.failures
  }

  /** Answers below 400. */
  get successes(): number {
    let sum = 0
    for (const [status, count] of this.byStatus) if (status < 400) sum += count
    return sum
  }

  /** What happened, most often first: `200 x 431, 504 x 18, ECONNRESET x 1`. */
  summary(): string {
    const counts = [...this.byStatus, ...this.byError].toSorted(([, a], [, b]) => b - a)
    return counts.length === 0 ? 'nothing' : counts.map(([what, count]) => `${what} x ${count}`).join(', ')
  }

  /** The value of a watched header that came most often. */
  commonest(name: string): string | undefined {
    return [...(this.#headers.get(name) ?? [])].toSorted(([, a], [, b]) => b - a)[0]?.[0]
  }

  /** Answers whose header holds `part`. */
  withHeader(name: string, part: string): number {
    let sum = 0
    for (const [value, count] of this.#headers.get(name) ?? []) if (value.includes(part)) sum += count
    return sum
  }
}

const valuesMax = 1_000

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function total(counts: ReadonlyMap<unknown, number>): number {
  let sum = 0
  for (const count of counts.values()) sum += count
  return sum
}
