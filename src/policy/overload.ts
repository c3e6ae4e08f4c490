import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Clock, Timer } from '../base/clock.ts'
import type { MemoryBound } from './memory-bound.ts'

/** What the process holds and may hold, in bytes. */
export interface MemoryReading {
  readonly heap: number
  readonly heapMax: number
  readonly resident: number
  /** Of the container; 0 = no limit. */
  readonly residentMax: number
}

export interface OverloadOptions {
  readonly clock: Clock
  readonly inFlight: MemoryBound
  readonly read?: () => MemoryReading
  /** Collects garbage, all of it. */
  readonly collect?: () => void
  /** Keep-alive goes off, or on again. */
  readonly onKeepAlive: (off: boolean) => void
  readonly warn: (message: string) => void
}

/**
 * How often memory is looked at, milliseconds. A look costs a few microseconds. In one turn of the event loop thousands of
 * connections and requests can come, so it is looked at after so many of them, too, and oftener once memory fills.
 */
const everyMs = 100
const lookAfter = 64
const lookAfterWhenFull = 8
const fullAt = 0.7
/**
 * From here on answers say `Connection: close`; requests are refused; connections are refused, for a handshake takes memory
 * before there is a request. Envoy's overload manager does so at 92, 95 and 98 %; V8 needs more room to collect garbage in.
 */
const keepAliveOffAt = 0.85
const shedAt = 0.9
const refuseAt = 0.95
/**
 * Who refuses requests allocates little, and then V8 collects nothing: what was freed would look used for ever. So garbage is
 * collected while memory is short, each second at most, and for a twentieth of the time at most.
 */
const collectEveryMs = 1_000
const collectShare = 20
/** A loop that stood still for so long is told of. */
const stallMs = 1_000

/**
 * Sheds load before memory runs out, since a process that is killed loses everything that is under way. It looks at the
 * heap's share of its limit and, in a container, at the resident share of the container's; a request pays for none of it.
 *
 * Shedding lowers how many requests may be in flight, a tenth at a time, until pressure falls: what is under way ends,
 * and as many new ones are let in as memory bears. Then the limit grows back. It also sees when the event loop stood
 * still, because then its own timer is late.
 */
export class Overload {
  /** The larger of the two shares; 1 = at the limit. */
  pressure = 0
  /** Times that the event loop stood still for a second or more, and milliseconds in all. */
  stalls = 0
  stalledMs = 0
  readonly #options: OverloadOptions
  readonly #read: () => MemoryReading
  readonly #timer: Timer
  #keepAliveOff = false
  #shedding = false
  #lookedAt: number
  #connections = 0
  #refusing = false
  #collectAt = Number.NEGATIVE_INFINITY

  constructor(options: OverloadOptions) {
    this.#options = options
    this.#read = options.read ?? readMemory()
    this.#lookedAt = options.clock.now()
    this.#timer = options.clock.every(everyMs, () => {
      this.#watchLoop()
      this.#look()
      if (this.#keepAliveOff) this.#collect()
    })
    options.inFlight.onMany = () => this.#look()
  }

  /** Asked for each new connection: whether it is to be reset. */
  refuses(): boolean {
    if (++this.#connections >= this.#options.inFlight.many) {
      this.#connections = 0
      this.#look()
    }
    return this.#refusing
  }

  close(): void {
    this.#timer.cancel()
  }

  #look(): void {
    const { heap, heapMax, resident, residentMax } = this.#read()
    const pressure = Math.max(heap / heapMax, residentMax === 0 ? 0 : resident / residentMax)
    this.pressure = pressure
    this.#refusing = pressure >= refuseAt
    this.#options.inFlight.many = pressure >= fullAt ? lookAfterWhenFull : lookAfter
    const off = pressure >= keepAliveOffAt
    if (off !== this.#keepAliveOff) {
      this.#keepAliveOff = off
      this.#options.onKeepAlive(off)
    }
    const { inFlight, warn } = this.#options
    if (pressure >= shedAt) {
      inFlight.shrink()
      if (!this.#shedding) warn(`memory is at ${percent(pressure)} % of its limit: requests are refused from here on`)
      this.#shedding = true
    } else if (!off) {
      inFlight.grow()
      if (this.#shedding) warn(`memory is at ${percent(pressure)} % of its limit: requests are taken again`)
      this.#shedding = false
    }
  }

  #collect(): void {
    const { clock, collect = collectGarbage } = this.#options
    const startedAt = clock.now()
    if (startedAt < this.#collectAt) return
    collect()
    const now = clock.now()
    this.#collectAt = now + Math.max(collectEveryMs, (now - startedAt) * collectShare)
    // What it stood still for was our own doing.
    this.#lookedAt = now
  }

  #watchLoop(): void {
    const now = this.#options.clock.now()
    const late = now - this.#lookedAt - everyMs
    this.#lookedAt = now
    if (late < stallMs) return
    this.stalls++
    this.stalledMs += late
    this.#options.warn(
      `the event loop stood still for ${Math.round(late)} ms: no CPU, or a computation that is too long`,
    )
  }
}

function percent(share: number): number {
  return Math.floor(share * 100)
}

let gc: (() => void) | undefined

/** V8 shows its collector only when it is told to; that is done when it is first needed. */
function collectGarbage(): void {
  if (gc === undefined) {
    setFlagsFromString('--expose-gc')
    gc = runInNewContext('gc') as () => void
    setFlagsFromString('--no-expose-gc')
  }
  gc()
}

/** The process's own figures. The limit of the container is read once. */
function readMemory(): () => MemoryReading {
  const constrained = process.constrainedMemory()
  // Without a limit it is 0, or more than any machine has.
  const residentMax = constrained > 0 && constrained < 2 ** 50 ? constrained : 0
  const young = youngMax()
  return () => {
    const { used_heap_size: heap, heap_size_limit: limit } = getHeapStatistics()
    // What survives is in the old generation, and that is what must not be full.
    return { heap, heapMax: limit - young, resident: residentMax === 0 ? 0 : process.memoryUsage.rss(), residentMax }
  }
}

/** Bytes of V8's limit that are for the young generation: three semi-spaces, of 16 MiB unless a flag says otherwise. */
function youngMax(): number {
  const flag = process.execArgv.findLast((text) => text.startsWith('--max-semi-space-size='))
  return 3 * 2 ** 20 * (flag === undefined ? 16 : Number(flag.split('=')[1]))
}
