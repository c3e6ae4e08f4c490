/** What a PromQL expression asks for, held against the series that sidecars and control planes have. */
import { parser } from '@prometheus-io/lezer-promql'
import { controlPlaneMetrics } from '../../control-plane/admin/metrics.ts'
import { metricList } from '../../src/telemetry/metrics.ts'
import type { MetricSpec } from '../../src/telemetry/series.ts'

type Tree = ReturnType<typeof parser.parse>
type SyntaxNode = Tree['topNode']

/** What Prometheus adds: who was scraped. */
const targetLabels = ['namespace', 'pod', 'job', 'instance']

/** Labels of every series, by its name as a query has it. */
const known: ReadonlyMap<string, readonly string[]> = new Map([
  ...(Object.values(metricList) as readonly MetricSpec[]).flatMap(({ name, type, labels }) =>
    seriesNames(name, labels, type === 'histogram'),
  ),
  ...Object.entries(controlPlaneMetrics).flatMap(([name, { labels }]) =>
    seriesNames(name, labels, name.endsWith('_duration_seconds')),
  ),
])

function seriesNames(name: string, own: readonly string[], isHistogram: boolean): [string, readonly string[]][] {
  const labels = [...own, ...targetLabels]
  if (!isHistogram) return [[name, labels]]
  return [
    [`${name}_bucket`, [...labels, 'le']],
    [`${name}_sum`, labels],
    [`${name}_count`, labels],
  ]
}

export interface Series {
  readonly name: string
  /** That the selector names. */
  readonly labels: readonly string[]
}

/** Grafana's variables as it would put them in, where they are not in a text. */
function filledIn(expr: string): string {
  return expr.replaceAll('$__rate_interval', '5m')
}

/** The series that an expression selects. */
export function seriesOf(expr: string): Series[] {
  const text = filledIn(expr)
  return select(parser.parse(text).topNode, text)
}

function select(node: SyntaxNode, text: string): Series[] {
  const found: Series[] = []
  each(node, 'VectorSelector', (selector) => {
    const name = selector.getChild('Identifier')
    const labels: string[] = []
    each(selector, 'LabelName', (label) => labels.push(text.slice(label.from, label.to)))
    found.push({ name: name === null ? '' : text.slice(name.from, name.to), labels })
  })
  return found
}

/** Everything that is wrong with an expression whose labels `shown` are used; one line each. */
export function problemsOf(expr: string, shown: readonly string[]): string[] {
  const text = filledIn(expr)
  const tree: Tree = parser.parse(text)
  const problems: string[] = []
  tree.iterate({
    enter(node) {
      if (node.type.isError) problems.push(`no PromQL at ${node.from}: ${text.slice(node.from).slice(0, 20)}`)
    },
  })
  const series = select(tree.topNode, text)
  if (series.length === 0) problems.push('it asks for no series')
  for (const { name, labels } of series) {
    if (!known.has(name)) problems.push(`there is no series ${name}`)
    else for (const label of labels) problems.push(...lacking(name, label))
  }
  const kept = new Set<string>()
  let sums = false
  each(tree.topNode, 'AggregateExpr', (sum) => {
    sums = true
    const modifier = sum.getChild('AggregateModifier')
    const inner = select(sum, text)
    if (modifier !== null && modifier.getChild('By') === null) problems.push('without (...): name what is kept')
    const by: string[] = []
    if (modifier !== null) each(modifier, 'LabelName', (label) => by.push(text.slice(label.from, label.to)))
    for (const label of by) {
      kept.add(label)
      for (const { name } of inner) problems.push(...lacking(name, label))
    }
    for (const { name } of inner) {
      const isQuantile = text.slice(0, sum.from).trimEnd().endsWith(',')
      if (name.endsWith('_bucket') && isQuantile && !by.includes('le')) problems.push(`${name} is summed over le`)
    }
  })
  for (const label of shown) {
    if (sums && !kept.has(label)) problems.push(`${label} is summed away, or never was`)
    if (!sums) for (const { name } of series) problems.push(...lacking(name, label))
  }
  return problems
}

function lacking(name: string, label: string): string[] {
  const labels = known.get(name)
  return labels === undefined || labels.includes(label) ? [] : [`${name} has no label ${label}`]
}

function each(node: SyntaxNode, name: string, visit: (node: SyntaxNode) => void): void {
  if (node.type.name === name) visit(node)
  for (let child = node.firstChild; child !== null; child = child.nextSibling) each(child, name, visit)
}
