import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatProblem } from '../../src/api/documents/format-problem.ts'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { checkModel } from './check.ts'

const clock = { wall: () => Date.UTC(2026, 0, 1) }

const orders = `
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
`

function problems(...documents: string[]): string[] {
  const loaded = loadDocuments([{ path: 'x.yaml', text: documents.map((d) => d.trim()).join('\n---\n') }])
  assert.deepEqual(
    loaded.problems.map((problem) => formatProblem(problem)),
    [],
  )
  return checkModel(loaded.documents, clock).map((problem) => `${problem.code} ${formatProblem(problem)}`)
}

function route(rules: string, parents = '[{group: "", kind: Service, name: orders}]', name = 'r'): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: shop}
spec:
  parentRefs: ${parents}
  rules: ${rules}`
}

function grpcRoute(rules: string, parents = '[{group: "", kind: Service, name: orders}]', name = 'g'): string {
  return route(rules, parents, name).replace('HTTPRoute', 'GRPCRoute')
}

function ours(kind: string, spec: string, namespace = 'shop'): string {
  return `
apiVersion: outrigger.dev/v1alpha1
kind: ${kind}
metadata: {name: p, namespace: ${namespace}}
spec: ${spec}`
}

function redirect(match: string, to: string): string {
  return `{matches: [{path: ${match}}], filters: [{type: RequestRedirect, requestRedirect: {${to}}}]}`
}

const full = (path: string) => `path: {type: ReplaceFullPath, replaceFullPath: ${path}}`
const prefix = (path: string) => `path: {type: ReplacePrefixMatch, replacePrefixMatch: ${path}}`

test('documents that refer to nothing wrong have no problems', () => {
  assert.deepEqual(problems(orders, route('[{backendRefs: [{name: orders, port: 80}]}]')), [])
})

test('a parent that does not exist is told with the one that was meant', () => {
  assert.deepEqual(problems(orders, route('[{}]', '[{group: "", kind: Service, name: ordres}]')), [
    'dangling-reference x.yaml:10:49: error: spec.parentRefs[0].name: Service shop/ordres does not exist; did you mean orders?',
  ])
})

test('a Service of that name in another namespace is pointed at', () => {
  const [problem, ...rest] = problems(
    orders,
    route('[{}]', '[{group: "", kind: Service, name: orders, namespace: desk}]'),
  )
  assert.match(problem!, /Service desk\/orders does not exist \(there is one in shop\)$/)
  assert.deepEqual(rest, [])
})

test('a route without a Service parent, or on an opaque port, is a warning', () => {
  assert.match(problems(route('[{}]', '[{name: gateway}]'))[0]!, /^no-service-parent .* warning: /)
  const opaque = orders.replace('name: http', 'name: tcp-raw')
  assert.match(problems(opaque, route('[{}]'))[0]!, /^not-http .* warning: .*declares port 80 as opaque/)
})

test('a GRPCRoute takes a port from HTTPRoutes, be they older; each is told of what it loses', () => {
  const ports = orders.replace('ports: [', 'ports: [{name: grpc, port: 9000}, ')
  assert.match(ports, /9000/)
  const all = problems(
    ports,
    route('[{}]'),
    grpcRoute('[{}]', '[{group: "", kind: Service, name: orders, port: 9000}]'),
  )
  assert.equal(all.length, 1, all.join('\n'))
  assert.match(
    all[0]!,
    /^displaced .* warning: spec\.parentRefs\[0\]: GRPCRoute shop\/g has port 9000 of Service shop\/orders: an HTTPRoute is ignored there/,
  )
  // Without a port it leaves those alone where nothing can be gRPC; named they are a mistake.
  const http = '[{group: "", kind: Service, name: orders, port: 80}]'
  assert.deepEqual(problems(ports, route('[{}]', http), grpcRoute('[{}]')), [])
  assert.match(
    problems(ports, route('[{}]', http), grpcRoute('[{}]', http)).join('\n'),
    /^not-grpc [^\n]* warning: [^\n]*declares port 80 as HTTP\/1\.1: a GRPCRoute never sees its requests$/,
  )
})

test("an HTTPRoute with nothing left is an error; routes for other callers are in nobody's way", () => {
  const one = orders.replace('name: http', 'name: grpc')
  const [lost, ...rest] = problems(one, route('[{}]'), grpcRoute('[{}]'), grpcRoute('[{}]', undefined, 'h'))
  assert.match(
    lost!,
    /^displaced .* error: .*GRPCRoute shop\/g has port 80.*expected another port, or routes of one kind/,
  )
  assert.deepEqual(rest, [])
  const elsewhere = grpcRoute('[{}]', '[{group: "", kind: Service, name: orders, namespace: shop}]')
  assert.deepEqual(
    problems(one, route('[{}]'), elsewhere.replace('namespace: shop}\nspec', 'namespace: desk}\nspec')),
    [],
  )
})

test('what a GRPCRoute refers to is looked at as in an HTTPRoute', () => {
  const one = orders.replace('name: http', 'name: grpc')
  const mirror = '{type: RequestMirror, requestMirror: {backendRef: {name: orders, port: 80}}}'
  const fault = '{type: ExtensionRef, extensionRef: {group: outrigger.dev, kind: FaultInjection, name: p}}'
  const told = problems(
    one,
    grpcRoute(`[{filters: [${mirror}, ${fault}], backendRefs: [{name: orders, port: 80}, {name: ordres, port: 80}]}]`),
  )
  assert.deepEqual(
    told.map((line) => line.split(' ')[0]),
    ['cycle', 'dangling-reference', 'dangling-reference'],
  )
  assert.deepEqual(
    problems(one, ours('FaultInjection', '{abort: {reset: true}}'), grpcRoute(`[{filters: [${fault}]}]`)),
    [],
  )
  assert.match(problems(one.replace('name: grpc', 'name: tcp'), grpcRoute('[{}]'))[0]!, /^not-http .* warning: /)
})

test('targets of policies must exist, rules of routes by their name too', () => {
  const named = route('[{name: checkout, backendRefs: [{name: orders, port: 80}]}]')
  const target = (ref: string) => ours('FaultInjection', `{targetRefs: [${ref}], abort: {reset: true}}`)
  assert.deepEqual(problems(orders, named, target('{kind: HTTPRoute, name: r, sectionName: chekout}')), [
    'dangling-reference x.yaml:16:61: error: spec.targetRefs[0].sectionName: HTTPRoute shop/r has no rule named chekout; expected one of checkout; did you mean checkout?',
  ])
  assert.match(problems(orders, named, target('{kind: HTTPRoute, name: rr}'))[0]!, /HTTPRoute shop\/rr does not exist/)
  assert.match(
    problems(orders, ours('BackendPolicy', '{targetRefs: [{kind: Service, name: order}]}'))[0]!,
    /did you mean orders\?$/,
  )
  assert.match(
    problems(orders, ours('AuthorizationPolicy', '{targetRefs: [{kind: Service, name: order}]}'))[0]!,
    /^dangling-reference/,
  )
  assert.deepEqual(problems(orders, named, target('{kind: HTTPRoute, name: r, sectionName: checkout}')), [])
  assert.match(problems(orders, named, target('{kind: GRPCRoute, name: r}'))[0]!, /GRPCRoute shop\/r does not exist/)
})

test('a policy does not reach targets of another namespace', () => {
  const [problem] = problems(orders, ours('BackendPolicy', '{targetRefs: [{kind: Service, name: orders}]}', 'desk'))
  assert.match(problem!, /Service desk\/orders does not exist \(there is one in shop\)/)
})

test('a redirect that leads back to itself is a cycle', () => {
  const cycle = (...rules: string[]) => problems(orders, route(`[${rules.join(', ')}]`))
  assert.deepEqual(
    cycle(redirect('{type: Exact, value: /a}', full('/b')), redirect('{type: Exact, value: /b}', full('/a'))),
    [
      'cycle x.yaml:11:91: error: spec.rules[0].filters[0].requestRedirect: the redirect leads back to itself: /a -> /b -> /a',
      'cycle x.yaml:11:245: error: spec.rules[1].filters[0].requestRedirect: the redirect leads back to itself: /b -> /a -> /b',
    ],
  )
  assert.match(cycle(redirect('{value: /}', 'statusCode: 301'))[0]!, /leads back to itself: \/ -> \/$/)
  assert.match(cycle(redirect('{value: /}', 'hostname: orders.shop.svc.cluster.local, port: 80'))[0]!, /^cycle/)
  assert.match(cycle(redirect('{value: /a}', prefix('/a/b')))[0]!, /itself: \/a -> \/a\/b -> \/a\/b\/b -> \.\.\.$/)
})

test('a redirect that leaves, ends, or may be taken by something else is no cycle', () => {
  const cycle = (...rules: string[]) => problems(orders, route(`[${rules.join(', ')}]`))
  assert.deepEqual(cycle(redirect('{value: /}', 'hostname: example.com')), [])
  assert.deepEqual(cycle(redirect('{value: /}', 'scheme: https')), [])
  assert.deepEqual(cycle(redirect('{value: /}', 'port: 8443')), [])
  assert.deepEqual(cycle(redirect('{value: /a}', prefix('/b')), '{backendRefs: [{name: orders, port: 80}]}'), [])
  assert.deepEqual(cycle(redirect('{value: /v1}', prefix('/'))), [])
  const regex = '{matches: [{path: {type: RegularExpression, value: "/.*"}}], backendRefs: [{name: orders, port: 80}]}'
  assert.deepEqual(cycle(redirect('{value: /}', 'statusCode: 301'), regex), [])
})

const slice = (name: string, address: string, pod: string, service = 'orders', port = '{name: http, port: 8080}') => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}, namespace: shop, labels: {kubernetes.io/service-name: ${service}}}
addressType: IPv4
ports: [${port}]
endpoints: [{addresses: ["${address}"], targetRef: {kind: Pod, name: ${pod}}}]`
const pod = (name: string, rest = '') => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop${rest}}`

test('an EndpointSlice must belong to a Service, know its ports and its Pods', () => {
  assert.deepEqual(problems(orders, pod('a'), slice('s', '10.0.0.1', 'a')), [])
  assert.match(
    problems(orders, pod('a'), slice('s', '10.0.0.1', 'a', 'oders'))[0]!,
    /Service shop\/oders does not exist; did you mean orders\?/,
  )
  assert.match(
    problems(orders, pod('alpha'), slice('s', '10.0.0.1', 'alpa'))[0]!,
    /Pod shop\/alpa does not exist; did you mean alpha\?/,
  )
  const empty =
    'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n' +
    'metadata: {name: e, namespace: shop, labels: {kubernetes.io/service-name: orders}}\n' +
    'addressType: IPv4\nendpoints: []\nports: []\n'
  assert.deepEqual(problems(orders, empty), [], 'a Service without Pods is in order')
  const unnamed = problems(orders, pod('a'), slice('s', '10.0.0.1', 'a', 'orders', '{port: 8080}'))
  assert.match(
    unnamed[0]!,
    /^missing-port .* no port named http for port 80 of Service shop\/orders; ports here: \(no name\)$/,
  )
  assert.match(
    problems(orders, pod('a'), slice('s', 'example.com', 'a'))[0]!,
    /^unsupported-address .*"example.com" is not an IPv4 address/,
  )
  const bare = slice('s', '10.0.0.1', 'a').replace('labels: {kubernetes.io/service-name: orders}', 'labels: {}')
  assert.match(problems(orders, pod('a'), bare)[0]!, /the slice belongs to no Service/)
})

test('one address and port cannot be two Pods, but one Pod may be behind two Services', () => {
  const twice = problems(orders, pod('a'), pod('b'), slice('s', '10.0.0.1', 'a'), slice('t', '10.0.0.1', 'b'))
  assert.equal(twice.length, 1)
  assert.match(
    twice[0]!,
    /^duplicate-endpoint x\.yaml:\d+:26: error: .*10\.0\.0\.1:8080 is Pod shop\/a already \(EndpointSlice shop\/s/,
  )
  const other = orders.replace('name: orders', 'name: other')
  assert.deepEqual(
    problems(orders, other, pod('a'), slice('s', '10.0.0.1', 'a'), slice('t', '10.0.0.1', 'a', 'other')),
    [],
  )
})

test('what selects nothing is a warning', () => {
  assert.match(
    problems(ours('AuthorizationPolicy', '{}'))[0]!,
    /^selects-nothing .* warning: .*namespace shop has no Pods/,
  )
  assert.match(
    problems(orders, ours('AuthorizationPolicy', '{targetRefs: [{kind: Service, name: orders}]}'))[0]!,
    /^selects-nothing .*no Pod behind Service shop\/orders/,
  )
  assert.match(
    problems(ours('PeerAuthentication', '{selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}'))[0]!,
    /^selects-nothing/,
  )
  assert.deepEqual(problems(pod('a'), ours('AuthorizationPolicy', '{}')), [])
  assert.deepEqual(problems(pod('a'), ours('AuthorizationPolicy', '{}', 'outrigger-system')), [])
})

test('a retry rate below one a second is told', () => {
  const rate = (count: number) =>
    problems(
      orders,
      ours(
        'BackendPolicy',
        `{targetRefs: [{kind: Service, name: orders}], retryConstraint: {minRetryRate: {count: ${count}, interval: 1m}}}`,
      ),
    )
  assert.match(rate(59)[0]!, /^no-effect .*59 retries in 1m is less than one a second and counts as none/)
  assert.deepEqual(rate(60), [])
  assert.deepEqual(rate(0), [])
})

test('a meshed Pod needs a service account that can stand in an identity', () => {
  const bad = (labels: string) => `${pod('a', `, labels: {${labels}}`)}\nspec: {serviceAccountName: Bad_Name}`
  assert.match(problems(bad('outrigger.dev/inject: "true"'))[0]!, /^invalid-identity .*"Bad_Name"/)
  assert.deepEqual(problems(bad('app: a')), [])
})

test('a policy in Shadow mode conflicts with nothing', () => {
  const telemetry = (name: string, mode: string) =>
    ours('TelemetryPolicy', `{mode: ${mode}, tracing: {samplingRate: 1}}`).replace('name: p', `name: ${name}`)
  assert.match(
    problems(telemetry('a', 'Enforce'), telemetry('b', 'Enforce'))[0]!,
    /^conflicted .*TelemetryPolicy shop\/a/,
  )
  assert.deepEqual(
    problems(telemetry('a', 'Enforce'), telemetry('b', 'Shadow')).map((p) => p.split(' ')[0]),
    ['no-effect'],
  )
})

test('of a conflict the place is told where the winner has one', () => {
  const text = [
    ours('TelemetryPolicy', '{tracing: {samplingRate: 1}}').replace('name: p', 'name: a'),
    ours('TelemetryPolicy', '{tracing: {samplingRate: 1}}').replace('name: p', 'name: b'),
  ]
  assert.match(problems(...text)[0]!, /conflicts with TelemetryPolicy shop\/a \(x\.yaml:1\), which/)
  const { documents } = loadDocuments([{ path: 'x.yaml', text: text.join('\n---\n') }])
  const inCluster = documents.map((document) => ({
    ...document,
    origin: { ...document.origin, file: `cluster:${document.kind}/${document.name}`, line: 0 },
  }))
  assert.match(checkModel(inCluster, clock)[0]!.message, /conflicts with TelemetryPolicy shop\/a, which/)
})

test('an expired fault is told with the clock that is given', () => {
  const fault = ours(
    'FaultInjection',
    '{targetRefs: [{kind: Service, name: orders}], abort: {reset: true}, expiresAt: "2026-01-01T00:00:00Z"}',
  )
  assert.match(problems(orders, fault)[0]!, /^expired x\.yaml:9:\d+: warning: /)
  assert.deepEqual(problems(orders, fault.replace('00:00:00Z', '00:00:01Z')), [])
})
