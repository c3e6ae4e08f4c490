/** Traces in a real Jaeger, series in a real Prometheus: both as the chart brings them for trying out. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { parse } from 'yaml'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import { type Cluster, type Found, openCluster } from './cluster.ts'
import { installMesh } from './mesh.ts'
import type { Namespace } from './namespace.ts'
import { Shop } from './shop.ts'
import { root } from './state.ts'
import { jaegerImage, loadToolImages, prometheusImage } from './tool-images.ts'
import { until } from './until.ts'

const limit = { timeout: 4 * 60_000 }
const scrapeInterval = '2s'
const retriesOfOrders = 2

const running = new AsyncDisposableStack()
let cluster: Cluster
let theShop: Shop
let shop: Namespace
let jaeger: string
let prometheus: string

before(async () => {
  cluster = running.use(await openCluster())
  await loadToolImages()
  running.use(
    await installMesh(cluster, {
      values: {
        'jaeger.enabled': 'true',
        'prometheus.enabled': 'true',
        ...ofImage('jaeger', jaegerImage),
        ...ofImage('prometheus', prometheusImage),
        'monitoring.interval': scrapeInterval,
      },
    }),
  )
  const system = cluster.existing(inSystem.namespace)
  jaeger = `http://${await system.serviceAddress('outrigger-jaeger')}:16686`
  prometheus = `http://${await system.serviceAddress('outrigger-prometheus')}:9090`
  theShop = running.use(await Shop.open(cluster))
  shop = theShop.namespace
}, limit)
after(() => running.disposeAsync(), limit)
afterEach((test) => cluster.explain(test, 'shop', inSystem.namespace))

function ofImage(name: string, image: string): Record<string, string> {
  const [repository, tag] = image.split(':') as [string, string]
  return { [`${name}.image.repository`]: repository, [`${name}.image.tag`]: tag }
}

describe('Jaeger', () => {
  test('has one trace of a request: every hop, in order', limit, async () => {
    const spans = await traceOf(
      shop,
      'http://web:8080/',
      200,
      (all) => kinds(all, 'server').length >= 4 && kinds(all, 'client').length >= 4,
    )
    assert.deepEqual(
      kinds(spans, 'server')
        .map((span) => span.service)
        .sort(),
      ['inventory', 'orders', 'shipping', 'web'],
      'each application was reached once',
    )
    assert.deepEqual(
      kinds(spans, 'client')
        .map((span) => `${span.service} > ${span.tags['outrigger.backend']}`)
        .sort(),
      ['client > shop/web', 'orders > shop/inventory', 'orders > shop/shipping', 'web > shop/orders'],
      'and called once',
    )
    // A chain: each span but the first has its parent in the trace, and goes back to the first.
    const byId = new Map(spans.map((span) => [span.id, span]))
    const deepest = kinds(spans, 'server').find(({ service }) => service === 'inventory')!
    const chain: string[] = []
    for (let at: Span | undefined = deepest; at !== undefined; at = byId.get(at.parent ?? '')) chain.unshift(at.service)
    assert.deepEqual(
      chain.filter((service, i) => service !== chain[i - 1]),
      ['client', 'web', 'orders', 'inventory'],
    )
  })

  test('has every try, and says of each what was decided', limit, async () => {
    await shop.apply({
      apiVersion: 'outrigger.dev/v1alpha1',
      kind: 'FaultInjection',
      metadata: { name: 'orders-fails', namespace: 'shop' },
      spec: { targetRefs: [{ kind: 'Service', name: 'orders' }], abort: { percentage: 100, httpStatus: 503 } },
    })
    await until(async () => assert.equal((await call(shop, 'http://web:8080/')).status, 503))
    const tries = (all: readonly Span[]): Span[] =>
      kinds(all, 'client').filter(({ tags }) => tags['outrigger.backend'] === 'shop/orders')
    const spans = await traceOf(shop, 'http://web:8080/', 503, (all) => tries(all).length > retriesOfOrders)
    assert.deepEqual(
      tries(spans)
        .map(({ tags }) => tags['http.request.resend_count'] ?? 0)
        .sort(),
      [0, 1, 2],
      'the first try and two more',
    )
    for (const { tags } of tries(spans)) {
      assert.equal(tags['outrigger.fault.type'], 'abort')
      assert.equal(tags['outrigger.code'], 'FAULT_ABORTED')
    }
    const told = JSON.stringify(spans.map(({ tags, logs }) => [tags, logs]))
    assert.match(told, /FaultInjection\/shop\/orders-fails/)
    await theShop.policies()
  })
})

describe('Prometheus', () => {
  test('scrapes every sidecar and the control plane by their annotations', limit, async () => {
    await until(async () => {
      const { data } = await query('/api/v1/targets?state=active')
      const up = data.activeTargets
        .filter(({ health }: Found) => health === 'up')
        .map(({ labels }: Found) => labels.pod as string)
      for (const name of ['web', 'orders', 'inventory-v1', 'inventory-v2', 'client', inSystem.name])
        assert.ok(
          up.some((pod: string) => pod.startsWith(`${name}-`)),
          `${name} is not scraped: ${up}`,
        )
    }, 60_000)
  })

  test('has every series of the dashboards and of the alerts', limit, async () => {
    // What makes them: traffic, retries, faults, an open breaker, refusals.
    await theShop.scenario('breaker', 9_000)
    await theShop.scenario('denied', 5_000)
    const wanted = seriesOfTheChart()
    assert.ok(wanted.size > 10)
    await until(async () => {
      const { data } = await query('/api/v1/label/__name__/values')
      const there = new Set(data as string[])
      // A counter of what has not happened has no sample yet, but Prometheus knows of it by its TYPE line.
      const known = (await query('/api/v1/metadata')).data as Record<string, unknown>
      const missing = [...wanted].filter(
        (name) => !there.has(name) && !(name.replace(/_(bucket|sum|count)$/, '') in known),
      )
      assert.deepEqual(missing, [])
      for (const name of [
        'outrigger_requests_total',
        'outrigger_circuit_transitions_total',
        'outrigger_authz_decisions_total',
      ])
        assert.ok(there.has(name), `${name} has no sample`)
    }, 60_000)
  })

  test(
    'every expression of the dashboards and of the alerts is one, and those of requests give figures',
    limit,
    async () => {
      for (const expression of expressions()) {
        const said = await query(`/api/v1/query?query=${encodeURIComponent(expression)}`)
        assert.equal(said.status, 'success', `${expression}: ${said.error}`)
      }
      await until(async () => {
        const rate = 'sum(rate(outrigger_requests_total{reporter="source", destination_service_name="inventory"}[1m]))'
        const { data } = await query(`/api/v1/query?query=${encodeURIComponent(rate)}`)
        assert.ok(Number(data.result[0]?.value[1]) > 0, 'no requests to inventory were counted')
      })
      const rules = await query('/api/v1/rules')
      assert.ok(rules.data.groups.length > 0, 'the alerts are loaded')
      for (const { rules: all } of rules.data.groups)
        for (const { name, health, lastError } of all) assert.notEqual(health, 'err', `${name}: ${lastError}`)
    },
  )
})

interface Span {
  readonly id: string
  readonly parent: string | undefined
  readonly service: string
  readonly tags: Readonly<Record<string, unknown>>
  readonly logs: unknown
}

/** Sends a request with a trace of its own and waits until Jaeger has of it what `isWhole` asks for. */
async function traceOf(
  from: Namespace,
  url: string,
  status: number,
  isWhole: (spans: readonly Span[]) => boolean,
): Promise<readonly Span[]> {
  const id = crypto.randomUUID().replaceAll('-', '')
  const answer = await call(from, url, { traceparent: `00-${id}-00000000000000aa-01` })
  assert.equal(answer.status, status)
  return until(async () => {
    const response = await fetch(`${jaeger}/api/traces/${id}`)
    const { data } = (await response.json()) as Found
    const spans = (data?.[0]?.spans ?? []).map((span: Found): Span => spanOf(span, data[0].processes))
    assert.ok(isWhole(spans), `Jaeger has not all of trace ${id}: ${JSON.stringify(spans)}`)
    return spans
  })
}

function spanOf({ spanID, references, processID, tags, logs }: Found, processes: Found): Span {
  return {
    id: spanID,
    parent: references.find(({ refType }: Found) => refType === 'CHILD_OF')?.spanID,
    service: processes[processID].serviceName,
    tags: Object.fromEntries(tags.map(({ key, value }: Found) => [key, value])),
    logs,
  }
}

function kinds(spans: readonly Span[], kind: 'server' | 'client'): Span[] {
  // A caller's own record of the whole call is a server span of its sidecar, too: told apart by its direction.
  return spans.filter(({ tags }) => {
    if (tags['span.kind'] !== kind) return false
    return kind === 'client' || tags['outrigger.direction'] === 'inbound'
  })
}

async function call(from: Namespace, url: string, headers: object = {}): Promise<{ status: number }> {
  const program = `fetch(${JSON.stringify(url)}, { headers: ${JSON.stringify(headers)} }).then(async (r) => { await r.text(); console.log(JSON.stringify({ status: r.status })) })`
  return JSON.parse(await from.exec('deployment/client', ['node', '-e', program])) as { status: number }
}

async function query(at: string): Promise<Found> {
  const response = await fetch(`${prometheus}${at}`)
  return response.json()
}

const charts = path.join(root, 'charts/outrigger')

function expressions(): string[] {
  const texts = globSync('dashboards/*.json', { cwd: charts }).map((file) =>
    readFileSync(path.join(charts, file), 'utf8'),
  )
  const ofDashboards = texts.flatMap((text) => exprs(JSON.parse(text)))
  // What Grafana puts in for its variables.
  const filled = ofDashboards.map((one) =>
    one
      .replaceAll('$__rate_interval', '1m')
      .replaceAll('$__range', '5m')
      .replaceAll(/\$\{?\w+(:\w+)?\}?/g, '.*'),
  )
  const alerts = parse(readFileSync(path.join(charts, 'rules/alerts.yaml'), 'utf8')) as unknown
  return [...filled, ...exprs(alerts)]
}

function exprs(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === 'expr' && typeof inner === 'string' ? [inner] : exprs(inner),
  )
}

function seriesOfTheChart(): Set<string> {
  const text = [...globSync('dashboards/*.json', { cwd: charts }), 'rules/alerts.yaml']
    .map((file) => readFileSync(path.join(charts, file), 'utf8'))
    .join('\n')
  // Not names of dashboards, charts or labels: those have no unit and no figure.
  return new Set([...text.matchAll(/\b(outrigger_[a-z_]+)\b(?=[{\s[)])/g)].map(([, name]) => name!))
}
