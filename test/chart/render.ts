/** The chart as Helm renders it. */
import path from 'node:path'
import { parseDocuments } from '../cluster/cluster.ts'
import { attempt, type Result, run } from '../cluster/command.ts'
import { program, root } from '../cluster/state.ts'

export const chart = path.join(root, 'charts/outrigger')
export const crdsChart = path.join(root, 'charts/outrigger-crds')

// biome-ignore lint/suspicious/noExplicitAny: objects of every kind of Kubernetes.
export type Manifest = any

/** A way to install the chart: its values, and what else the cluster has. */
export interface Scenario {
  readonly name: string
  readonly values?: string
  readonly apis?: readonly string[]
}

const operator = ['PodMonitor', 'ServiceMonitor', 'PrometheusRule'].map((kind) => `monitoring.coreos.com/v1/${kind}`)

export const scenarios: readonly Scenario[] = [
  { name: 'default' },
  { name: 'ha', values: 'values-ha.yaml' },
  { name: 'restricted', values: 'ci/restricted-values.yaml' },
  { name: 'cert-manager', values: 'ci/cert-manager-values.yaml', apis: ['cert-manager.io/v1/Certificate'] },
  { name: 'prometheus-operator', values: 'ci/prometheus-operator-values.yaml', apis: operator },
  { name: 'try-out', values: 'ci/try-out-values.yaml' },
]

/** Arguments of `helm template` and `helm lint` for a scenario. */
export function valuesOf({ values }: Scenario): string[] {
  return values === undefined ? [] : ['--values', path.join(chart, values)]
}

function templateArguments(scenario: Scenario): string[] {
  const apis = (scenario.apis ?? []).flatMap((api) => ['--api-versions', api])
  return [
    'template',
    'outrigger',
    chart,
    '--namespace',
    'outrigger-system',
    '--kube-version',
    '1.33.0',
    ...apis,
    ...valuesOf(scenario),
  ]
}

/** Every document of the scenario, as one YAML text. */
export function render(scenario: Scenario): Promise<string> {
  return run(program('helm'), templateArguments(scenario))
}

/** Documents with these values over the defaults. */
export async function renderWith(values: object, apis: readonly string[] = []): Promise<Manifest[]> {
  return parseDocuments(
    await run(program('helm'), [...templateArguments({ name: 'default', apis }), '--values', '-'], {
      stdin: JSON.stringify(values),
    }),
  )
}

/** What Helm says of these values, whatever the status. */
export function tryWith(values: object | string): Promise<Result> {
  const stdin = typeof values === 'string' ? values : JSON.stringify(values)
  return attempt(program('helm'), [...templateArguments({ name: 'default' }), '--values', '-'], { stdin })
}

/** The only document of a kind, or the one with that name. */
export function find(documents: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = documents.filter((it) => it.kind === kind && (name === undefined || it.metadata.name === name))
  if (found.length !== 1) throw new Error(`${found.length} documents are ${kind} ${name ?? ''}`)
  return found[0]
}
