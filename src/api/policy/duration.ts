const pattern = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/
const part = /([0-9]{1,5})(h|ms|m|s)/g
const unitMs: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 }

/** Longest duration in milliseconds: what a uint32 of outrigger.proto holds, 49 days. */
export const durationMsMax = 4_294_967_295

/** True for a GEP-2257 duration: one to four of `1h`, `2m`, `3s`, `4ms`, without spaces, signs or fractions. */
export function isDuration(text: string): boolean {
  return pattern.test(text)
}

/**
 * Milliseconds of a duration that the schema has accepted (GEP-2257: the parts are added).
 * Throws a RangeError for any other text, because that is a mistake of the program and not of its user.
 */
export function durationMs(text: string): number {
  if (!isDuration(text)) throw new RangeError(`not a duration: ${JSON.stringify(text)}`)
  let totalMs = 0
  for (const [, count, unit] of text.matchAll(part)) totalMs += Number(count) * unitMs[unit!]!
  return totalMs
}
