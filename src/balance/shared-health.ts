/** What the threads of a sidecar know together of endpoints and breakers. What one of them learns holds for all at once. */
import { type Cell, type CellKey, cellKey, probeThreadMask, probeWord, type SharedTable } from '../base/shared-table.ts'
import { SharedWindow } from '../base/shared-window.ts'
import type { EndpointTarget } from '../upstream/endpoint.ts'
import type { BreakerState } from './breaker.ts'
import { Endpoint } from './endpoint-set.ts'

// Words of an endpoint's cell.
const consecutive = 0
const ejectedUntil = 1
const timesEjected = 2
const returnedAt = 3

/**
 * An endpoint whose outlier ejection is one for all threads: failures in a row are counted over all of them, and who is
 * ejected is so everywhere. Tries under way and latency stay each thread's own, as in Envoy.
 */
export class SharedEndpoint extends Endpoint {
  readonly #table: SharedTable
  readonly #cell: Cell
  #breakerKey: CellKey | undefined

  constructor(target: EndpointTarget, table: SharedTable, name: string) {
    super(target)
    this.#table = table
    this.#cell = table.claim('health', `endpoint ${name} ${target.key}`)
  }

  /** Some thread has a breaker of that name, which is always the same. */
  breakerExists(name: string): boolean {
    this.#breakerKey ??= cellKey('health', breakerName(name))
    return this.#table.has(this.#breakerKey)
  }

  override countFailure(): number {
    return Atomics.add(this.#cell.words, consecutive, 1) + 1
  }

  override get failuresInRow(): number {
    return Atomics.load(this.#cell.words, consecutive)
  }

  override forgetFailures(): void {
    // A look is cheaper than a write that every thread's cache has to hear of.
    if (Atomics.load(this.#cell.words, consecutive) !== 0) Atomics.store(this.#cell.words, consecutive, 0)
  }

  override get ejectedUntil(): number {
    const words = Atomics.load(this.#cell.words, ejectedUntil)
    return words === 0 ? 0 : time(words, this.#table.clock.now())
  }

  override get timesEjected(): number {
    return Atomics.load(this.#cell.words, timesEjected)
  }

  override get returnedAt(): number {
    return time(Atomics.load(this.#cell.words, returnedAt), this.#table.clock.now())
  }

  override eject(until: number, times: number): boolean {
    if (Atomics.compareExchange(this.#cell.words, ejectedUntil, 0, kept(until)) !== 0) return false
    Atomics.store(this.#cell.words, timesEjected, times)
    this.#table.changed()
    return true
  }

  override return(now: number): boolean {
    const until = Atomics.load(this.#cell.words, ejectedUntil)
    if (until === 0 || Atomics.compareExchange(this.#cell.words, ejectedUntil, until, 0) !== until) return false
    Atomics.store(this.#cell.words, returnedAt, kept(now))
    this.forgetFailures()
    this.#table.changed()
    return true
  }

  override close(): void {
    super.close()
    this.#table.release(this.#cell)
  }
}

// Words of a breaker's cell; `probeWord` is one of them.
const stateWord = 4
const openedAtWord = 5
const windowWords = 8

const states: readonly BreakerState[] = ['closed', 'open', 'half-open']

export const windowSlots = 10

/**
 * The state of one breaker, its window and its probe, for all threads. A change of state is a compare-and-exchange: of
 * several threads that decide the same, one has decided, and the others follow.
 */
export class SharedBreakerState {
  readonly window: SharedWindow
  readonly #table: SharedTable
  readonly #cell: Cell

  constructor(table: SharedTable, name: string) {
    this.#table = table
    this.#cell = table.claim('health', breakerName(name))
    this.window = new SharedWindow(this.#cell, windowWords, windowSlots)
  }

  /** Differs after every change of state: how often it changed, and to what. */
  get version(): number {
    return Atomics.load(this.#cell.words, stateWord)
  }

  /** Clock milliseconds, whole. */
  get openedAt(): number {
    return time(Atomics.load(this.#cell.words, openedAtWord), this.#table.clock.now())
  }

  static stateOf(version: number): BreakerState {
    return states[version & 3]!
  }

  /** The new version; undefined if another thread has changed it since `version`. */
  move(version: number, to: BreakerState, now: number): number | undefined {
    const { words } = this.#cell
    if (this.version !== version) return undefined
    if (to === 'open') Atomics.store(words, openedAtWord, kept(now))
    else if (to === 'half-open') this.window.clear()
    const next = (((version >>> 2) + 1) << 2) | states.indexOf(to)
    if (Atomics.compareExchange(words, stateWord, version, next) !== version) return undefined
    this.#table.changed()
    return next
  }

  probeTaken(version: number): boolean {
    return isProbeOf(version, Atomics.load(this.#cell.words, probeWord))
  }

  /** Of the threads that find it half-open one gets the probe. One that was taken in an earlier state counts no more. */
  takeProbe(version: number): boolean {
    const { words } = this.#cell
    const before = Atomics.load(words, probeWord)
    if (isProbeOf(version, before)) return false
    const own = probeOf(version) | (this.#table.thread + 1)
    if (Atomics.compareExchange(words, probeWord, before, own) !== before) return false
    this.#table.changed()
    return true
  }

  /** The probe said nothing: the next request is one. */
  freeProbe(version: number): void {
    const own = probeOf(version) | (this.#table.thread + 1)
    if (Atomics.compareExchange(this.#cell.words, probeWord, own, 0) === own) this.#table.changed()
  }

  close(): void {
    this.#table.release(this.#cell)
  }
}

/** Which state a probe belongs to, above the bits of its thread. */
function probeOf(version: number): number {
  return (version & 0x1ff_ffff) << 6
}

function isProbeOf(version: number, word: number): boolean {
  return word !== 0 && (word & ~probeThreadMask) === probeOf(version)
}

function breakerName(name: string): string {
  return `breaker ${name}`
}

// Times are kept as whole milliseconds in 31 bits, which come round after 24 days: a time is the nearest one that it can be.
const round = 2 ** 31 - 1

function kept(ms: number): number {
  return (Math.ceil(ms) % round) + 1
}

/** 0 stays 0: never. */
function time(words: number, now: number): number {
  if (words === 0) return 0
  const ms = now - (now % round) + words - 1
  if (ms - now > round / 2) return ms - round
  return now - ms > round / 2 ? ms + round : ms
}
