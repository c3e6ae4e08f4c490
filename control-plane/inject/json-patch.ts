/** The shortest JSON Patch (RFC 6902) for what injection does: things are added and replaced, lists keep their order. */
import { isDeepStrictEqual } from 'node:util'

export type PatchStep =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string }

/** What makes `after` of `before`. Lists of named things (containers, volumes) grow in place; others are replaced as a whole. */
export function jsonPatch(before: unknown, after: unknown): PatchStep[] {
  // What JSON leaves out is no difference.
  return steps(plain(before), plain(after), '')
}

function steps(before: unknown, after: unknown, path: string): PatchStep[] {
  if (isDeepStrictEqual(before, after)) return []
  if (isRecord(before) && isRecord(after)) return recordSteps(before, after, path)
  if (Array.isArray(before) && Array.isArray(after)) {
    const grown = listSteps(before, after, path)
    if (grown !== undefined) return grown
  }
  return [{ op: 'replace', path, value: after }]
}

function recordSteps(before: Fields, after: Fields, path: string): PatchStep[] {
  const at = (key: string): string => `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
  return [
    ...Object.keys(before)
      .filter((key) => !Object.hasOwn(after, key))
      .map((key): PatchStep => ({ op: 'remove', path: at(key) })),
    ...Object.entries(after).flatMap(([key, value]): PatchStep[] =>
      Object.hasOwn(before, key) ? steps(before[key], value, at(key)) : [{ op: 'add', path: at(key), value }],
    ),
  ]
}

/** Undefined when something was taken out or has moved, or when things have no names to be told apart by. */
function listSteps(before: readonly unknown[], after: readonly unknown[], path: string): PatchStep[] | undefined {
  const names = before.map(nameOf)
  if (names.includes(undefined) || new Set(names).size < names.length) return undefined
  const result: PatchStep[] = []
  let next = 0
  for (const [at, value] of after.entries()) {
    if (next < before.length && nameOf(value) === names[next])
      result.push(...steps(before[next++], value, `${path}/${at}`))
    else if (names.includes(nameOf(value))) return undefined
    else result.push({ op: 'add', path: `${path}/${at}`, value })
  }
  return next === before.length ? result : undefined
}

type Fields = Readonly<Record<string, unknown>>

function nameOf(value: unknown): string | undefined {
  return isRecord(value) && typeof value['name'] === 'string' ? value['name'] : undefined
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown
}
