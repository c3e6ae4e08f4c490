/** What we use of opossum 10, which brings no types. */
declare module 'opossum' {
  import type { EventEmitter } from 'node:events'

  interface Stats {
    readonly fires: number
    readonly failures: number
    readonly successes: number
    readonly rejects: number
  }

  export interface Status {
    readonly stats: Stats
    increment(property: 'fires' | 'failures' | 'successes' | 'rejects'): void
  }

  export interface StatusOptions {
    rollingCountTimeout: number
    rollingCountBuckets: number
    rollingPercentilesEnabled: boolean
    enableSnapshots: boolean
    rotateBucketController: EventEmitter
    stats?: Partial<Stats>
  }

  interface Options extends Omit<StatusOptions, 'stats'> {
    timeout: false
    name: string
    errorThresholdPercentage: number
    volumeThreshold: number
    resetTimeout: number
    status?: Status
    state?: { enabled: boolean; closed: boolean; halfOpen: boolean }
  }

  class CircuitBreaker<Arguments extends unknown[]> extends EventEmitter {
    static newStatus(options: StatusOptions): Status
    constructor(action: (...args: Arguments) => Promise<void>, options: Options)
    readonly closed: boolean
    readonly opened: boolean
    readonly halfOpen: boolean
    /** Half-open, and the one probe has not been taken yet. */
    readonly pendingClose: boolean
    readonly status: Status
    readonly stats: Stats
    fire(...args: Arguments): Promise<void>
    open(): void
    close(): void
    shutdown(): void
  }

  export default CircuitBreaker
}
