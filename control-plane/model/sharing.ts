/**
 * What says the same as before is the same object as before. Who compares by identity then sees at once what a change did
 * not touch, whatever was computed anew on the way.
 */

/** `now`, with the values of `before` where they say the same; `before` itself when all of them do. */
export function shareValues<K, V>(
  now: ReadonlyMap<K, V>,
  before: ReadonlyMap<K, V> | undefined,
  same: (a: V, b: V) => boolean,
): ReadonlyMap<K, V> {
  if (before === undefined) return now
  const shared = new Map<K, V>()
  let isSame = now.size === before.size
  for (const [key, value] of now) {
    const known = before.get(key)
    const isKnown = known !== undefined && same(value, known)
    shared.set(key, isKnown ? known : value)
    isSame &&= isKnown
  }
  return isSame ? before : shared
}

/** Lists of the same items, by identity unless `same` says otherwise. */
export function sameItems<T>(
  a: readonly T[],
  b: readonly T[],
  same: (one: T, other: T) => boolean = Object.is,
): boolean {
  return a.length === b.length && a.every((item, at) => same(item, b[at]!))
}

/** Records whose fields are identical. */
export function sameFields<T extends object>(a: T, b: T): boolean {
  return (Object.keys(a) as (keyof T)[]).every((key) => a[key] === b[key])
}
