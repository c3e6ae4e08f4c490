/** Metrics of a sidecar whose traffic runs in threads: one scrape, the sums of all. */
import { Counters, type Family, Histograms, type Row, type Sample, type Sums } from './series.ts'

/** What one thread has counted, by the metric's name. */
export type Counted = Readonly<Record<string, readonly Row[]>>

/** Two as one. */
export function addedUp(a: Counted, b: Counted): Counted {
  const all: Record<string, readonly Row[]> = { ...a }
  for (const [name, rows] of Object.entries(b)) {
    const sums = new Map<string, Row>()
    for (const { values, numbers } of [...(a[name] ?? []), ...rows]) {
      const key = values.join('\u0000')
      const before = sums.get(key)?.numbers
      sums.set(key, { values, numbers: before === undefined ? numbers : numbers.map((n, i) => n + before[i]!) })
    }
    all[name] = [...sums.values()]
  }
  return all
}

/** The family, with what others counted under its name. */
export function merged(own: Family, others: () => Iterable<Counted>): Family {
  return own.spec.once === true ? own : new Merged(own, others)
}

class Merged implements Family {
  readonly spec
  readonly #own: Family
  readonly #others: () => Iterable<Counted>
  /** Kept from scrape to scrape: which label sets have a series of their own must not change. */
  readonly #sums: Sums

  constructor(own: Family, others: () => Iterable<Counted>) {
    this.spec = own.spec
    this.#own = own
    this.#others = others
    this.#sums = own instanceof Histograms ? new Histograms(own.spec, own.bounds) : new Counters(own.spec)
  }

  samples(): Sample[] {
    this.#add()
    return this.#sums.samples()
  }

  rows(): Row[] {
    this.#add()
    return this.#sums.rows()
  }

  #add(): void {
    this.#sums.clear()
    for (const row of this.#own.rows()) this.#sums.absorb(row)
    for (const counted of this.#others()) {
      for (const row of counted[this.spec.name] ?? []) this.#sums.absorb(row)
    }
  }
}
