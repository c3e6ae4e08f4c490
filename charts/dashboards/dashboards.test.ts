/** Every question that dashboards and alerts ask is PromQL, about series and labels that there are. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { problemsOf, seriesOf } from '../../test/support/promql.ts'
import { dashboards } from './all.ts'

interface Target {
  readonly expr: string
  readonly legendFormat: string
}
interface Shown {
  readonly title: string
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly definition?: string; readonly type: string }[]
  }
  readonly panels: readonly {
    readonly id: number
    readonly title: string
    readonly type: string
    readonly targets?: readonly Target[]
    readonly gridPos: Record<'x' | 'y' | 'w' | 'h', number>
  }[]
}

/** Braces of a legend, of Grafana (`{{pod}}`) or of an alert (`{{ $labels.pod }}`). */
function named(text: string): string[] {
  return [...text.matchAll(/\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}/g)].map(([, label]) => label!)
}

for (const dashboard of dashboards as unknown as readonly Shown[]) {
  describe(dashboard.title, () => {
    const variables = dashboard.templating.list.map(({ name }) => name)
    for (const panel of dashboard.panels) {
      for (const { expr, legendFormat } of panel.targets ?? []) {
        it(`${panel.title}: ${legendFormat || expr.slice(0, 60)}`, () => {
          assert.deepEqual(problemsOf(expr, named(legendFormat)), [])
          for (const [, name] of expr.matchAll(/\$(?!__rate_interval)(\w+)/g))
            assert.ok(variables.includes(name!), `$${name}`)
        })
      }
    }

    it('asks for the values of its variables', () => {
      for (const { definition } of dashboard.templating.list) {
        if (definition === undefined) continue
        const match = /^label_values\((.+), (\w+)\)$/.exec(definition)
        assert.ok(match, definition)
        assert.deepEqual(problemsOf(match[1]!, [match[2]!]), [])
      }
    })

    it('has panels that do not overlap', () => {
      const taken = new Map<string, string>()
      for (const { title, gridPos } of dashboard.panels) {
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            assert.equal(taken.get(`${x},${y}`), undefined, title)
            assert.ok(x < 24)
            taken.set(`${x},${y}`, title)
          }
        }
      }
      assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    })
  })
}

describe('alerts', () => {
  const file = fileURLToPath(new URL('../outrigger/rules/alerts.yaml', import.meta.url))
  const { groups } = parse(readFileSync(file, 'utf8')) as {
    groups: {
      rules: {
        alert: string
        expr: string
        for: string
        labels: { severity: string }
        annotations: Record<string, string>
      }[]
    }[]
  }
  const rules = groups.flatMap((group) => group.rules)
  for (const { alert, expr, labels, annotations } of rules) {
    it(alert, () => {
      assert.match(alert, /^Outrigger[A-Z]/)
      assert.match(labels.severity, /^(?:info|warning|critical)$/)
      assert.ok(annotations['summary'] && annotations['description'])
      assert.deepEqual(problemsOf(expr, named(Object.values(annotations).join(' '))), [])
    })
  }
})

describe('the check would tell', () => {
  const faults: readonly (readonly [what: string, expr: string, legend: string[], word: RegExp])[] = [
    ['a series that is not there', 'rate(outrigger_request_total[5m])', [], /no series outrigger_request_total/],
    ['a label in a selector', 'outrigger_requests_total{path="/"}', [], /outrigger_requests_total has no label path/],
    ['a label of a sum', 'sum by (path) (rate(outrigger_requests_total[5m]))', [], /has no label path/],
    [
      'a label of a legend',
      'sum by (reporter) (outrigger_requests_total)',
      ['response_code'],
      /response_code is summed away/,
    ],
    ['a label of a legend without a sum', 'outrigger_watch_connected', ['reporter'], /has no label reporter/],
    ['the sum of a histogram, asked of its name', 'outrigger_request_duration_seconds', [], /no series/],
    [
      'buckets without le',
      'histogram_quantile(0.9, sum by (reporter) (rate(outrigger_request_duration_seconds_bucket[5m])))',
      [],
      /le/,
    ],
    ['what is no PromQL', 'sum by (reporter (rate(outrigger_requests_total[5m]))', [], /no PromQL/],
    ['no series at all', 'vector(1)', [], /asks for no series/],
  ]
  for (const [what, expr, legend, word] of faults) {
    it(what, () => assert.match(problemsOf(expr, legend).join('\n'), word))
  }

  it('but not what Grafana puts in', () => {
    assert.deepEqual(seriesOf('sum(rate(outrigger_requests_total{reporter="$reporter"}[$__rate_interval]))'), [
      { name: 'outrigger_requests_total', labels: ['reporter'] },
    ])
  })
})
