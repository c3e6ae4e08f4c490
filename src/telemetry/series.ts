/** Where a value lies that is shown to Prometheus: name, meaning, labels and how many series it may have. */
export interface MetricSpec<Label extends string = string> {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly Label[]
  /** Label sets past this many are counted under `other`. */
  readonly seriesMax: number
  /** It is of the process; otherwise what the threads of a sidecar say adds up. */
  readonly once?: true
}

export type Labels = Readonly<Record<string, string>>

/** One line of the exposition format. The labels object is the same at every scrape, so its text is made once. */
export interface Sample {
  readonly value: number
  readonly sharedLabels: Labels
  /** Of this line alone (`le`). */
  readonly labels: Labels
  /** With a suffix, for histograms. */
  readonly metricName: string
}

/** A metric as a scrape reads it. */
export interface Family {
  readonly spec: MetricSpec
  samples(): Sample[]
  /** The same as numbers that can be added to another thread's. */
  rows(): Row[]
}

/** One label set: its values in the order of `spec.labels`; one number, or a histogram's counts and then its sum. */
export interface Row {
  readonly values: readonly string[]
  readonly numbers: readonly number[]
}

/** A family of sums. */
export interface Sums extends Family {
  /** All are 0; label sets stay. */
  clear(): void
  absorb(row: Row): void
}

/** Label values come from names in policy and from peers; none needs more. */
const labelCharactersMax = 256
const noLabels: Labels = {}

/**
 * Resolves label values to slot numbers. A slot is asked for once, when a series is first seen; counting is then an
 * addition in an array. The number of slots is bounded whatever the traffic holds (GHSA-42mr-jpwh-m9rv: a label that
 * a client can choose must not grow the process).
 */
export class Slots {
  readonly spec: MetricSpec
  readonly labels: Labels[] = []
  /** How many label sets were refused a series of their own. */
  overflowed = 0
  readonly #byKey = new Map<string, number>()
  #overflow = -1
  readonly #otherKey: string

  constructor(spec: MetricSpec) {
    this.spec = spec
    this.#otherKey = spec.labels.map(() => 'other').join('\u0000')
  }

  /** Values in the order of `spec.labels`. */
  slot(values: readonly string[]): number {
    const key = values.join('\u0000')
    // What overflowed in a thread shares the slot of what overflows here.
    if (values.length > 0 && key === this.#otherKey) return this.#other()
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    // The last slot is the one that everything else shares.
    if (this.labels.length >= this.spec.seriesMax - 1) {
      this.overflowed++
      return this.#other()
    }
    const slot = this.#add(values)
    this.#byKey.set(key, slot)
    return slot
  }

  #other(): number {
    if (this.#overflow === -1) this.#overflow = this.#add(this.spec.labels.map(() => 'other'))
    return this.#overflow
  }

  #add(values: readonly string[]): number {
    const entries = this.spec.labels.map((name, i) => [name, labelValue(values[i] ?? '')] as const)
    return this.labels.push(Object.fromEntries(entries)) - 1
  }
}

function labelValue(value: string): string {
  const cut = value.length > labelCharactersMax ? value.slice(0, labelCharactersMax) : value
  // prom-client escapes quote, backslash and newline; a carriage return or ESC would still reach a terminal.
  return cut.replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?')
}

/** Counters of one name. */
export class Counters implements Sums {
  readonly spec: MetricSpec
  readonly #slots: Slots
  #values = new Float64Array(16)

  constructor(spec: MetricSpec) {
    this.spec = spec
    this.#slots = new Slots(spec)
  }

  get overflowed(): number {
    return this.#slots.overflowed
  }

  slot(values: readonly string[]): number {
    const slot = this.#slots.slot(values)
    if (slot >= this.#values.length) this.#values = grown(this.#values, slot + 1)
    return slot
  }

  add(slot: number, amount: number): void {
    this.#values[slot]! += amount
  }

  /** For what happens seldom enough to look the slot up each time. */
  count(values: readonly string[], amount = 1): void {
    this.add(this.slot(values), amount)
  }

  rows(): Row[] {
    return this.#slots.labels.map((labels, slot) => ({ values: Object.values(labels), numbers: [this.#values[slot]!] }))
  }

  clear(): void {
    this.#values.fill(0)
  }

  absorb({ values, numbers }: Row): void {
    this.add(this.slot(values), numbers[0]!)
  }

  samples(): Sample[] {
    const { name } = this.spec
    return this.#slots.labels.map((labels, slot) => ({
      value: this.#values[slot]!,
      sharedLabels: labels,
      labels: noLabels,
      metricName: name,
    }))
  }
}

/** Histograms of one name, with fixed bounds. Counts are doubles: a 32-bit bucket overflows in five days at 10,000/s. */
export class Histograms implements Sums {
  readonly spec: MetricSpec
  readonly bounds: readonly number[]
  readonly #slots: Slots
  readonly #width: number
  #counts: Float64Array
  #sums = new Float64Array(4)
  readonly #boundLabels: readonly Labels[]

  constructor(spec: MetricSpec, bounds: readonly number[]) {
    this.spec = spec
    this.bounds = bounds
    this.#slots = new Slots(spec)
    this.#width = bounds.length + 1
    this.#counts = new Float64Array(this.#width * 4)
    this.#boundLabels = [...bounds.map((bound) => ({ le: String(bound) })), { le: '+Inf' }]
  }

  get overflowed(): number {
    return this.#slots.overflowed
  }

  slot(values: readonly string[]): number {
    const slot = this.#slots.slot(values)
    if (slot >= this.#sums.length) {
      this.#sums = grown(this.#sums, slot + 1)
      this.#counts = grown(this.#counts, this.#sums.length * this.#width)
    }
    return slot
  }

  observe(slot: number, value: number): void {
    const bounds = this.bounds
    let bucket = 0
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++
    this.#counts[slot * this.#width + bucket]! += 1
    this.#sums[slot]! += value
  }

  rows(): Row[] {
    return this.#slots.labels.map((labels, slot) => ({
      values: Object.values(labels),
      numbers: [...this.#counts.subarray(slot * this.#width, (slot + 1) * this.#width), this.#sums[slot]!],
    }))
  }

  clear(): void {
    this.#counts.fill(0)
    this.#sums.fill(0)
  }

  absorb({ values, numbers }: Row): void {
    const slot = this.slot(values)
    for (let bucket = 0; bucket < this.#width; bucket++) this.#counts[slot * this.#width + bucket]! += numbers[bucket]!
    this.#sums[slot]! += numbers[this.#width]!
  }

  samples(): Sample[] {
    const samples: Sample[] = []
    const { name } = this.spec
    this.#slots.labels.forEach((sharedLabels, slot) => {
      let total = 0
      for (let bucket = 0; bucket < this.#width; bucket++) {
        total += this.#counts[slot * this.#width + bucket]!
        samples.push({ value: total, sharedLabels, labels: this.#boundLabels[bucket]!, metricName: `${name}_bucket` })
      }
      samples.push({ value: this.#sums[slot]!, sharedLabels, labels: noLabels, metricName: `${name}_sum` })
      samples.push({ value: total, sharedLabels, labels: noLabels, metricName: `${name}_count` })
    })
    return samples
  }
}

/** Values that exist elsewhere and are read when a scrape asks. */
export class Readings implements Family {
  readonly spec: MetricSpec
  readonly #read: () => Iterable<readonly [values: readonly string[], value: number]>

  constructor(spec: MetricSpec, read: () => Iterable<readonly [values: readonly string[], value: number]>) {
    this.spec = spec
    this.#read = read
  }

  rows(): Row[] {
    return Array.from(this.#read(), ([values, value]) => ({ values, numbers: [value] }))
  }

  samples(): Sample[] {
    const { name, labels, seriesMax } = this.spec
    const samples: Sample[] = []
    for (const [values, value] of this.#read()) {
      if (samples.length === seriesMax) break
      const sharedLabels = Object.fromEntries(labels.map((label, i) => [label, labelValue(values[i] ?? '')]))
      samples.push({ value, sharedLabels, labels: noLabels, metricName: name })
    }
    return samples
  }
}

function grown(values: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const next = new Float64Array(Math.max(length, values.length * 2))
  next.set(values)
  return next
}
