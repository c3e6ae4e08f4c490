import type { Options } from './options.ts'

/** How long and how often the cells of a group are measured, unless the command line says otherwise. */
export interface Timing {
  readonly rounds: number
  /** Of one measured window. */
  readonly seconds: number
  /** Load before the first window: just-in-time compilers need it. */
  readonly warmupSeconds: number
  /** Keep-alive connections of the generator. */
  readonly connections: number
}

export function timingOf(group: Timing, options: Options): Timing {
  return {
    rounds: options.rounds ?? group.rounds,
    seconds: options.seconds ?? group.seconds,
    warmupSeconds: options.warmupSeconds ?? group.warmupSeconds,
    connections: options.connections ?? group.connections,
  }
}
