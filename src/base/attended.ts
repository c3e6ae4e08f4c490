import type { Clock, Timer } from './clock.ts'

/** Into so many parts a time is cut; a stall costs one of them at most. */
const parts = 5

/**
 * As `clock.after`, for how long somebody else may take: time in which our own event loop stood still (a process without
 * CPU, or stopped) counts as a fifth of `ms` at most, because we could not have seen an answer. On a loop that runs it
 * is `ms`.
 */
export function afterAttended(clock: Clock, ms: number, callback: () => void): Timer {
  let left = parts
  const next = (): void => {
    if (--left === 0) callback()
    else timer = clock.after(ms / parts, next)
  }
  let timer = clock.after(ms / parts, next)
  return { cancel: () => timer.cancel() }
}
