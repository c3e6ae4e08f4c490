/**
 * Memory that the threads of one sidecar share. A cell is a few counters under a name; whoever knows the name reaches the
 * same ones. What a thread held when it died can be taken back, because each thread notes its part in a column of its own.
 */
import { hash } from 'node:crypto'
import type { Clock } from './clock.ts'

/** Passed to a thread when it starts. */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer
  /** Threads that take traffic. */
  readonly threads: number
}

/** Holders are a bit each. */
export const threadsMax = 32

/** Cells at once; one more stands alone in its thread. Pages that were never used cost no memory. */
const cellsMax = 32_768
const indexWords = cellsMax * 2

/** Words before the index. */
const lockWord = 0
const epochWord = 1
const highWord = 2
const freeWord = 3
const headWords = 16

/** Words of a cell before its contents. */
const keyLow = 0
const keyHigh = 1
const holders = 2
const kindWord = 3
const cellHeadWords = 4

/** `counts`: columns are given back when their thread dies. `health`: a probe is free again. */
export type CellKind = 'counts' | 'health' | 'window'
const kinds: readonly CellKind[] = ['counts', 'health', 'window']

/** Counts of a cell of that kind. */
export const countsMax = 4
/** What the largest cell of the others needs: a window of twenty slots with three words each, and some. */
const plainWords = 64
/** In a health cell: who has the probe; 0, or in its low bits thread + 1. */
export const probeWord = 6
export const probeThreadMask = 63

const empty = 0
const tombstone = -1

/** Named counters. After `release` they are a copy that nobody else sees, so that latecomers harm nobody. */
export interface Cell {
  words: Int32Array
  readonly slot: number
}

export function sharedMemory(threads: number): SharedMemory {
  const words = headWords + indexWords + cellsMax * cellWords(threads)
  return { buffer: new SharedArrayBuffer(words * 4), threads }
}

function cellWords(threads: number): number {
  return cellHeadWords + Math.max(plainWords, countsMax * (1 + threads))
}

export class SharedTable {
  readonly threads: number
  /** From 0; the process itself, which owns no cells, is `threads`. */
  readonly thread: number
  /** One time for all threads. */
  readonly clock: Clock
  readonly #words: Int32Array
  readonly #cellWords: number

  constructor(memory: SharedMemory, thread: number, clock: Clock) {
    this.threads = memory.threads
    this.clock = clock
    this.thread = thread
    this.#words = new Int32Array(memory.buffer)
    this.#cellWords = cellWords(memory.threads)
  }

  /** Changes whenever any thread says so: what was concluded from shared health may be outdated. */
  get epoch(): number {
    return Atomics.load(this.#words, epochWord)
  }

  changed(): void {
    Atomics.add(this.#words, epochWord, 1)
  }

  /** The cell of that name, made with zeros if nobody has it. At most one claim of a thread at a time. */
  claim(kind: CellKind, name: string): Cell {
    const key = cellKey(kind, name)
    return this.#locked(() => {
      const slot = this.#find(key) ?? this.#add(key, kind)
      if (slot === undefined) return { words: new Int32Array(this.#cellWords), slot: -1 }
      const at = this.#cellAt(slot)
      Atomics.or(this.#words, at + holders, 1 << this.thread)
      const words = this.#words.subarray(at + cellHeadWords, at + this.#cellWords)
      return { words, slot }
    })
  }

  /** Some thread has a cell of that name. */
  has(key: CellKey): boolean {
    return this.#locked(() => this.#find(key) !== undefined)
  }

  release(cell: Cell): void {
    const { slot } = cell
    cell.words = cell.words.slice()
    if (slot >= 0) this.#locked(() => this.#letGo(slot, this.thread))
  }

  /** Gives back all that a thread held, which has died. Called by the process. */
  bury(thread: number): void {
    // It may have died in the middle of a claim; nobody else would ever unlock.
    Atomics.compareExchange(this.#words, lockWord, thread + 1, 0)
    this.#locked(() => {
      const high = this.#words[highWord]!
      for (let slot = 0; slot < high; slot++) {
        const at = this.#cellAt(slot)
        if ((this.#words[at + holders]! & (1 << thread)) === 0) continue
        this.#settle(at, thread)
        this.#letGo(slot, thread)
      }
    })
    this.changed()
  }

  #settle(at: number, thread: number): void {
    const contents = at + cellHeadWords
    const kind = kinds[this.#words[at + kindWord]!]
    if (kind === 'health') {
      const probe = Atomics.load(this.#words, contents + probeWord)
      if ((probe & probeThreadMask) === thread + 1) Atomics.compareExchange(this.#words, contents + probeWord, probe, 0)
    }
    if (kind !== 'counts') return
    for (let count = 0; count < countsMax; count++) {
      const total = contents + count * (1 + this.threads)
      Atomics.sub(this.#words, total, Atomics.exchange(this.#words, total + 1 + thread, 0))
    }
  }

  #letGo(slot: number, thread: number): void {
    const at = this.#cellAt(slot)
    const rest = Atomics.and(this.#words, at + holders, ~(1 << thread)) & ~(1 << thread)
    if (rest !== 0) return
    const index = this.#indexOf([this.#words[at + keyLow]!, this.#words[at + keyHigh]!])!
    // Behind an end of a row nothing has to be marked, and the marks before it can go.
    let free = this.#words[index + 1 === headWords + indexWords ? headWords : index + 1] === empty
    this.#words[index] = free ? empty : tombstone
    for (let i = index - 1; free && i >= headWords; i--) {
      free = this.#words[i] === tombstone
      if (free) this.#words[i] = empty
    }
    this.#words.fill(0, at, at + this.#cellWords)
    this.#words[at + keyLow] = this.#words[freeWord]!
    this.#words[freeWord] = slot + 1
  }

  #add(key: CellKey, kind: CellKind): number | undefined {
    let slot = this.#words[freeWord]! - 1
    if (slot >= 0) this.#words[freeWord] = this.#words[this.#cellAt(slot) + keyLow]!
    else if (this.#words[highWord]! < cellsMax) slot = this.#words[highWord]!++
    else return undefined
    const at = this.#cellAt(slot)
    this.#words[at + keyLow] = key[0]
    this.#words[at + keyHigh] = key[1]
    this.#words[at + kindWord] = kinds.indexOf(kind)
    for (const index of row(key)) {
      if (this.#words[index]! > 0) continue
      this.#words[index] = slot + 1
      break
    }
    return slot
  }

  #find(key: CellKey): number | undefined {
    const index = this.#indexOf(key)
    return index === undefined ? undefined : this.#words[index]! - 1
  }

  #indexOf(key: CellKey): number | undefined {
    for (const index of row(key)) {
      const entry = this.#words[index]!
      if (entry === empty) return undefined
      if (entry === tombstone) continue
      const at = this.#cellAt(entry - 1)
      if (this.#words[at + keyLow] === key[0] && this.#words[at + keyHigh] === key[1]) return index
    }
    return undefined
  }

  #cellAt(slot: number): number {
    return headWords + indexWords + slot * this.#cellWords
  }

  /** Claims are rare and take a microsecond: whoever is late waits. */
  #locked<T>(work: () => T): T {
    for (;;) {
      const holder = Atomics.compareExchange(this.#words, lockWord, 0, this.thread + 1)
      if (holder === 0) break
      Atomics.wait(this.#words, lockWord, holder, 1)
    }
    try {
      return work()
    } finally {
      Atomics.store(this.#words, lockWord, 0)
      Atomics.notify(this.#words, lockWord, 1)
    }
  }
}

/** 64 bits of a hash: among 32,768 names the chance that two share them is 1 in 30 thousand million. */
export type CellKey = readonly [low: number, high: number]

export function cellKey(kind: CellKind, name: string): CellKey {
  const bytes = hash('sha256', `${kind} ${name}`, 'buffer')
  return [bytes.readInt32LE(0), bytes.readInt32LE(4)]
}

/** Where in the index a key may lie, the likeliest first. */
function* row(key: CellKey): Iterable<number> {
  const start = (key[0] >>> 0) % indexWords
  for (let i = 0; i < indexWords; i++) yield headWords + ((start + i) % indexWords)
}

/** One number of a cell of kind `counts`, over all threads. */
export class SharedCount {
  readonly #cell: Cell
  readonly #total: number
  readonly #own: number

  constructor(table: SharedTable, cell: Cell, index: number) {
    this.#cell = cell
    this.#total = index * (1 + table.threads)
    this.#own = this.#total + 1 + table.thread
  }

  get total(): number {
    return Atomics.load(this.#cell.words, this.#total)
  }

  /** The part of this thread. */
  get own(): number {
    return this.#cell.words[this.#own]!
  }

  add(): void {
    const { words } = this.#cell
    words[this.#own]!++
    Atomics.add(words, this.#total, 1)
  }

  /** Adds one unless there are `max`. Exact: of two threads that ask for the last one, one gets it. */
  tryAdd(max: number): boolean {
    const { words } = this.#cell
    for (;;) {
      const total = Atomics.load(words, this.#total)
      if (total >= max) return false
      if (Atomics.compareExchange(words, this.#total, total, total + 1) !== total) continue
      words[this.#own]!++
      return true
    }
  }

  subtract(): void {
    const { words } = this.#cell
    words[this.#own]!--
    Atomics.sub(words, this.#total, 1)
  }
}
