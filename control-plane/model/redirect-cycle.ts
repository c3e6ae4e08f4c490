import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Path, type Problem, problemAt } from '../../src/api/documents/problem.ts'
import type { RouteFilter } from '../../src/api/policy/route-filter.ts'
import type { MeshModel } from './mesh-model.ts'
import { meshPorts } from './service-ports.ts'

type Redirect = NonNullable<RouteFilter['requestRedirect']>

/** One match on a path alone; `path` has no slash at its end, '' is the root. */
interface Candidate {
  readonly route: DocumentOf<'HTTPRoute'>
  readonly exact: boolean
  readonly path: string
  readonly redirect: Redirect | undefined
  /** Place of the redirect in the route. */
  readonly place: Path
}

/** A client gives up after about so many redirects (fetch: 20). */
const hopsMax = 20

/**
 * Redirects of a Service that lead a client back to where it was. Follows the requests that each redirecting match
 * names, through the matches on path alone: what also asks for a method or header may let a few of them out, not all.
 */
export function redirectCycles(model: MeshModel): Problem[] {
  const problems = new Map<string, Problem>()
  for (const service of model.index.all('Service')) {
    const attached = model.routes.get(`${service.namespace}/${service.name}`) ?? []
    for (const consumer of new Set(attached.map((one) => one.consumerNamespace))) {
      const own = attached.filter((one) => one.consumerNamespace === consumer).map((one) => one.route)
      // A GRPCRoute has no redirects.
      const routes = new Set(own.filter((route) => route.kind === 'HTTPRoute'))
      for (const problem of cyclesOf(service, [...routes])) {
        problems.set(`${problem.file}:${problem.line}:${problem.column}`, problem)
      }
    }
  }
  return [...problems.values()]
}

function cyclesOf(service: DocumentOf<'Service'>, routes: readonly DocumentOf<'HTTPRoute'>[]): Problem[] {
  const candidates = routes.flatMap(candidatesOf)
  const hasRegex = routes.some((route) =>
    route.value.spec.rules.some((rule) => rule.matches.some((match) => match.path?.type === 'RegularExpression')),
  )
  const problems: Problem[] = []
  for (const start of candidates) {
    const hops = follow(service, candidates, hasRegex, start)
    if (hops === undefined) continue
    const message = `the redirect leads back to itself: ${hops.map((path) => (path === '' ? '/' : path)).join(' -> ')}`
    problems.push(problemAt(start.route, start.place, { code: 'cycle', message }))
  }
  return problems
}

/** The paths of an endless walk that begins at a redirect; undefined when the walk ends. */
function follow(
  service: DocumentOf<'Service'>,
  candidates: readonly Candidate[],
  hasRegex: boolean,
  start: Candidate,
): string[] | undefined {
  const hops = [start.path]
  for (let path = start.path; hops.length <= hopsMax; ) {
    const found = best(candidates, path)
    // A regular expression comes before the root prefix and may take the request elsewhere.
    if (found?.redirect === undefined || (hasRegex && found.path === '' && !found.exact)) return undefined
    if (leaves(service, found.redirect)) return undefined
    path = target(found, found.redirect, path)
    hops.push(path)
    if (path === start.path) return hops
  }
  return [...hops.slice(0, 3), '...']
}

function candidatesOf(route: DocumentOf<'HTTPRoute'>): Candidate[] {
  return route.value.spec.rules.flatMap((rule, at) => {
    const filter = (rule.filters ?? []).findIndex((f) => f.requestRedirect !== undefined)
    const redirect = rule.filters?.[filter]?.requestRedirect
    const place = ['spec', 'rules', at, 'filters', Math.max(filter, 0), 'requestRedirect']
    return rule.matches
      .filter((m) => m.method === undefined && (m.headers ?? []).length === 0 && (m.queryParams ?? []).length === 0)
      .filter((m) => m.path?.type !== 'RegularExpression')
      .map((m) => {
        const exact = m.path?.type === 'Exact'
        const path = m.path?.value ?? '/'
        return { route, exact, path: exact ? path : path.replace(/\/$/, ''), redirect, place }
      })
  })
}

function best(candidates: readonly Candidate[], path: string): Candidate | undefined {
  const exact = candidates.find((c) => c.exact && c.path === (path === '' ? '/' : path))
  if (exact !== undefined) return exact
  const under = candidates.filter((c) => !c.exact && (path === c.path || path.startsWith(`${c.path}/`)))
  return under.sort((a, b) => b.path.length - a.path.length)[0]
}

/** Whether the client will come back to another authority, and so to other rules. */
function leaves(service: DocumentOf<'Service'>, { scheme, hostname, port }: Redirect): boolean {
  if (scheme === 'https') return true
  const { name, namespace } = service
  if (hostname !== undefined && hostname !== name && hostname !== `${name}.${namespace}`) {
    if (!hostname.startsWith(`${name}.${namespace}.svc`)) return true
  }
  const wanted = port ?? (scheme === 'http' ? 80 : undefined)
  return wanted !== undefined && !meshPorts(service).some((p) => p.port === wanted)
}

function target(from: Candidate, { path }: Redirect, requested: string): string {
  if (path === undefined) return requested
  if (path.type === 'ReplaceFullPath') return normal(path.replaceFullPath ?? '/')
  return normal(`${(path.replacePrefixMatch ?? '').replace(/\/$/, '')}${requested.slice(from.path.length)}`)
}

/** '' for the root, as in `Candidate.path`. */
function normal(path: string): string {
  return path === '/' ? '' : path
}
