/** Gateway API's own conformance suite: what of it must pass, how it is run, and what it said. */
import { parse } from 'yaml'
import type { Cluster } from '../cluster/cluster.ts'
import { CommandError } from '../cluster/command.ts'

/** Of the suite's profiles those that are about meshes. */
export const profiles = ['MESH-GRPC', 'MESH-HTTP'] as const
/** Of the suite and of the CRDs in the cluster. */
export const version = 'v1.6.3'

/** Core of the profiles. */
export const coreFeatures = ['Mesh', 'HTTPRoute', 'GRPCRoute'] as const

/** Every extended feature that MESH-HTTP has. MESH-GRPC has the same, and no test of it asks for one. */
export const extendedFeatures = [
  'MeshClusterIPMatching',
  'MeshConsumerRoute',
  'MeshHTTPRouteBackendRequestHeaderModification',
  'MeshHTTPRouteNamedRouteRule',
  'MeshHTTPRouteQueryParamMatching',
  'MeshHTTPRouteRedirectPath',
  'MeshHTTPRouteRedirectPort',
  'MeshHTTPRouteRewritePath',
  'MeshHTTPRouteSchemeRedirect',
] as const

/** Features of HTTPRoute that mesh tests ask for besides. */
export const routeFeatures = [
  'HTTPRoute303RedirectStatusCode',
  'HTTPRoute307RedirectStatusCode',
  'HTTPRoute308RedirectStatusCode',
  'HTTPRouteParentRefPort',
  'HTTPRouteResponseHeaderModification',
] as const

/**
 * Every mesh test of the suite, and whether it can tell a mesh from none. One that cannot asks for
 * "three in a row that fit, within 30 s", and with two backends that comes by chance; or it looks at nothing that a route
 * changes. Its twin, and one for each of the others, is in twins.ts.
 */
export const tests = {
  MeshBasic: 'blind',
  MeshConsumerRoute: 'tells',
  MeshFrontend: 'tells',
  MeshFrontendHostname: 'tells',
  MeshGRPCRouteWeight: 'tells',
  MeshHTTPRoute303Redirect: 'tells',
  MeshHTTPRoute307Redirect: 'tells',
  MeshHTTPRoute308Redirect: 'tells',
  MeshHTTPRouteBackendRequestHeaderModifier: 'tells',
  MeshHTTPRouteMatching: 'blind',
  MeshHTTPRouteNamedRule: 'blind',
  MeshHTTPRouteQueryParamMatching: 'tells',
  MeshHTTPRouteRedirectHostAndStatus: 'tells',
  MeshHTTPRouteRedirectPath: 'tells',
  MeshHTTPRouteRedirectPort: 'tells',
  MeshHTTPRouteRequestHeaderModifier: 'tells',
  MeshHTTPRouteRewritePath: 'tells',
  MeshHTTPRouteSchemeRedirect: 'tells',
  MeshHTTPRouteSimpleSameNamespace: 'blind',
  MeshHTTPRouteWeight: 'tells',
  MeshPorts: 'tells',
  MeshTrafficSplit: 'blind',
} as const satisfies Record<string, 'blind' | 'tells'>

/**
 * What the suite asks of GRPCRoute behind a Gateway only (`tests/grpcroute-*`; of hostnames a mesh knows nothing). It holds in
 * a mesh too, so these have twins as well.
 */
export const gatewayTests = ['GRPCExactMethodMatching', 'GRPCRouteHeaderMatching', 'GRPCRouteNamedRule'] as const

/** Namespaces that the suite makes; their names are fixed, so one run at a time. */
export const namespaces = ['gateway-conformance-mesh', 'gateway-conformance-mesh-consumer'] as const

export type Outcome = 'PASS' | 'FAIL' | 'SKIP'

/** What a run said. */
export interface SuiteRun {
  /** Of every test of the suite, by its short name. */
  readonly outcomes: ReadonlyMap<string, Outcome>
  /** All that it printed. */
  readonly output: string
}

export interface SuiteOptions {
  /** On the suite's namespaces. */
  readonly namespaceLabels?: Readonly<Record<string, string>>
  /** Where the report goes; none when left out. */
  readonly report?: string
  /** How long a test waits for answers that fit; the suite's own when left out. */
  readonly consistencySeconds?: number
}

const limitMs = 15 * 60_000

/** Runs it to the end, whatever comes out. Throws when it could not begin. */
export async function runSuite(cluster: Cluster, version: string, options: SuiteOptions): Promise<SuiteRun> {
  const { namespaceLabels = {}, report, consistencySeconds } = options
  const labels = Object.entries(namespaceLabels).map(([name, value]) => `${name}=${value}`)
  const args = [
    '-test.v',
    `-test.timeout=${limitMs / 60_000}m`,
    `--conformance-profiles=${profiles.join(',')}`,
    `--supported-features=${[...coreFeatures, ...extendedFeatures, ...routeFeatures].join(',')}`,
    ...(labels.length === 0 ? [] : [`--namespace-labels=${labels.join(',')}`]),
    ...(report === undefined ? [] : [`--report-output=${report}`, ...implementation(version)]),
    ...(consistencySeconds === undefined
      ? []
      : [`--timeout-config-overrides=MaxTimeToConsistency:${consistencySeconds}`]),
  ]
  // A run with a failed test exits with 1, and has said which.
  const output = await cluster
    .program('gateway-conformance.test', args, { timeoutMs: limitMs + 30_000 })
    .catch((error: unknown) => {
      if (error instanceof CommandError && error.result.status === 1) return error.result.stdout
      throw error
    })
  const outcomes = outcomesOf(output)
  if (outcomes.size === 0) throw new Error(`the suite ran no test:\n${output}`)
  return { outcomes, output }
}

/** Who is tested, in the report. */
function implementation(version: string): string[] {
  return [
    '--organization=outrigger',
    '--project=outrigger',
    '--url=https://outrigger.dev',
    `--version=${version}`,
    '--contact=https://outrigger.dev',
  ]
}

/** `    --- PASS: TestConformance/MeshBasic (1.01s)`: tests of the suite, not their cases. */
export function outcomesOf(output: string): Map<string, Outcome> {
  const lines = output.matchAll(/^\s*--- (PASS|FAIL|SKIP): TestConformance\/(\w+) \(/gm)
  return new Map([...lines].map(([, outcome, name]) => [name!, outcome as Outcome]))
}

/** Names of one outcome, sorted. */
export function named(outcomes: ReadonlyMap<string, Outcome>, outcome: Outcome): string[] {
  return [...outcomes]
    .filter((entry) => entry[1] === outcome)
    .map(([name]) => name)
    .sort()
}

/** What the tests printed about one of theirs that failed, for people. */
export function tellFailures(run: SuiteRun): string {
  const failed = named(run.outcomes, 'FAIL')
  const lines = run.output
    .split('\n')
    .filter((line) => failed.some((name) => line.includes(name)) || /expectation failed|timeout while/.test(line))
  return [`failed: ${failed.join(', ')}`, ...lines.slice(-60)].join('\n')
}

/** A ConformanceReport without what differs from run to run, the order of its profiles among it. */
export function lasting(report: string): object {
  const {
    date: _,
    implementation: tested,
    profiles: said,
    ...rest
  } = parse(report) as {
    date: string
    implementation: { version: string }
    profiles: { name: string }[]
  }
  const { version: __, ...who } = tested
  return { ...rest, profiles: said.toSorted((a, b) => (a.name < b.name ? -1 : 1)), implementation: who }
}
