import type { Metric, Registry } from 'prom-client'
import type { Family } from './series.ts'

/**
 * Text of a scrape. prom-client is loaded by the first one, and holds no value of ours: each family hands it the
 * lines when it asks, so counting a request never touches its label hashing.
 */
export class Exposition {
  readonly #families: readonly Family[]
  #registry: Promise<Registry> | undefined
  #running: Promise<string> | undefined

  constructor(families: readonly Family[]) {
    this.#families = families
  }

  /** Prometheus text format 0.0.4. Scrapes that overlap share one answer. */
  scrape(): Promise<string> {
    this.#running ??= this.#scrape().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #scrape(): Promise<string> {
    this.#registry ??= load(this.#families)
    return await (await this.#registry).metrics()
  }
}

async function load(families: readonly Family[]): Promise<Registry> {
  const { Registry } = await import('prom-client')
  const registry = new Registry()
  for (const family of families) registry.registerMetric(metricOf(family))
  return registry
}

/** What prom-client's registry asks of a metric is its name and `get`; its own classes add storage that we do not want. */
function metricOf(family: Family): Metric {
  const { name, help, type } = family.spec
  const metric = { name, help, type, get: () => Promise.resolve({ name, help, type, values: family.samples() }) }
  return metric as unknown as Metric
}
