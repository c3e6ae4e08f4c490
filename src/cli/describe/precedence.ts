import type { Match, Rule } from '../rule-text.ts'

/** One alternative of a rule, as it is tried. */
export interface OrderedMatch {
  readonly rule: Rule
  readonly match: Match
}

/**
 * The matches of rules that hold for the same callers and port, in Gateway API's order of precedence (HTTPRouteMatch): exact
 * path, longest prefix, regular expression, everything; then, of GRPCRoutes, more characters of the service, of the method; then
 * a method, more headers, more query parameters, then the order in which they stand. The sidecar finds the same by an index (src/route/table.ts); a test holds one against the other.
 */
export function inPrecedence(rules: readonly Rule[]): OrderedMatch[] {
  const all = rules.flatMap((rule) => (rule.matches ?? []).map((match) => ({ rule, match })))
  return all.toSorted((a, b) => {
    const left = rank(a.match)
    const right = rank(b.match)
    const at = left.findIndex((value, i) => value !== right[i])
    return at === -1 ? 0 : right[at]! - left[at]!
  })
}

function rank({ pathType, path = '', method = '', headers = [], query = [], grpc = {} }: Match): number[] {
  const { serviceCharacters = 0, methodCharacters = 0 } = grpc
  const own = [method === '' ? 0 : 1, headers.length, query.length]
  return [...pathRank(pathType, path), serviceCharacters, methodCharacters, ...own]
}

function pathRank(type: string | undefined, path: string): [kind: number, length: number] {
  if (type === 'STRING_MATCH_TYPE_EXACT') return [3, 0]
  if (type === 'STRING_MATCH_TYPE_REGEX') return [1, 0]
  const prefix = path.replace(/\/$/, '')
  return prefix === '' ? [0, 0] : [2, prefix.length]
}
