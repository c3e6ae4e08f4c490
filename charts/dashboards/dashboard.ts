/** Grafana dashboards from lists of panels: what is the same for all of them stands here. */

export interface Query {
  readonly expr: string
  /** Name of a line, with labels: `{{source_workload}}`. */
  readonly legend?: string
}

export interface Panel {
  readonly title: string
  /** What the reader should make of it. */
  readonly about?: string
  readonly kind: 'timeseries' | 'stat' | 'table'
  /** One of Grafana's: reqps, s, percentunit, Bps, short. */
  readonly unit: string
  readonly queries: readonly Query[]
  /** Value from which on it is red, of a stat. */
  readonly red?: { readonly above: number } | { readonly below: number }
  readonly max?: number
}

export interface Variable {
  readonly name: string
  readonly label: string
  /** `label_values(...)`, or values by comma. */
  readonly query: string
  readonly all?: true
}

export interface Row {
  readonly title: string
  readonly panels: readonly Panel[]
}

export interface DashboardParts {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly variables: readonly Variable[]
  readonly rows: readonly Row[]
}

/** A dashboard in Grafana's JSON. */
export interface Dashboard {
  readonly uid: string
  readonly [field: string]: unknown
}

const source = { type: 'prometheus', uid: '$datasource' } as const
const heights = { timeseries: 8, stat: 4, table: 8 } as const
const columns = 24

/** Rows from top to bottom; the panels of a row share its width. */
export function dashboard({ uid, title, description, variables, rows }: DashboardParts): Dashboard {
  const panels: object[] = []
  let y = 0
  for (const row of rows) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: columns, h: 1 },
    })
    y += 1
    const w = Math.floor(columns / row.panels.length)
    const h = Math.max(...row.panels.map(({ kind }) => heights[kind]))
    row.panels.forEach((panel, at) => {
      panels.push({ id: panels.length + 1, gridPos: { x: at * w, y, w, h }, ...panelJson(panel) })
    })
    y += h
  }
  return {
    uid,
    title,
    description,
    tags: ['outrigger'],
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    links: [
      {
        type: 'dashboards',
        title: 'Outrigger',
        tags: ['outrigger'],
        asDropdown: true,
        includeVars: true,
        keepTime: true,
      },
    ],
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        ...variables.map(variableJson),
      ],
    },
    panels,
  }
}

function panelJson({ title, about, kind, unit, queries, red, max }: Panel): object {
  const steps =
    red === undefined
      ? [{ color: 'green', value: null }]
      : 'above' in red
        ? [
            { color: 'green', value: null },
            { color: 'red', value: red.above },
          ]
        : [
            { color: 'red', value: null },
            { color: 'green', value: red.below },
          ]
  return {
    type: kind,
    title,
    ...(about === undefined ? {} : { description: about }),
    datasource: source,
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(max === undefined ? {} : { max }),
        thresholds: { mode: 'absolute', steps },
        ...(kind === 'timeseries' ? { custom: { fillOpacity: 10, showPoints: 'never' } } : {}),
      },
      overrides: [],
    },
    options:
      kind === 'timeseries'
        ? { legend: { displayMode: 'table', placement: 'bottom', calcs: ['mean', 'max'] }, tooltip: { mode: 'multi' } }
        : kind === 'stat'
          ? { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: red === undefined ? 'none' : 'value' }
          : { showHeader: true },
    ...(kind === 'table' ? { transformations: [{ id: 'organize', options: { excludeByName: { Time: true } } }] } : {}),
    targets: queries.map(({ expr, legend = '' }, at) => ({
      refId: String.fromCharCode(65 + at),
      datasource: source,
      expr,
      legendFormat: legend,
      ...(kind === 'timeseries' ? {} : { instant: true, range: false }),
      ...(kind === 'table' ? { format: 'table' } : {}),
    })),
  }
}

function variableJson({ name, label, query, all }: Variable): object {
  const common = { name, label, multi: all === true, includeAll: all === true }
  if (!query.startsWith('label_values(')) return { ...common, type: 'custom', query }
  return {
    ...common,
    ...(all === true ? { allValue: '.*', current: { text: 'All', value: '$__all' } } : {}),
    type: 'query',
    datasource: source,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    sort: 1,
  }
}
