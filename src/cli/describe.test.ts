import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fromJson } from '@bufbuild/protobuf'
import fc from 'fast-check'
import {
  CliCluster,
  controlPlaneObjects,
  pod,
  replicaStatus,
  runCommand,
  sidecar,
} from '../../test/support/cli-cluster.ts'
import { exchange } from '../../test/support/exchanges.ts'
import { ServiceSchema } from '../api/gen/outrigger_pb.ts'
import { compileRoutes } from '../route/table.ts'
import { inPrecedence } from './describe/precedence.ts'

const shop = fileURLToPath(new URL('../../examples/shop', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'outrigger-describe-'))
after(() => rmSync(folder, { recursive: true }))

test('a Service: what callers meet, in order, and who said so', async () => {
  const more = join(folder, 'more.yaml')
  writeFileSync(
    more,
    `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: inventory, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: inventory}]
  rules:
  - name: rest
    matches: [{path: {type: PathPrefix, value: /items}}]
    backendRefs: [{name: inventory, port: 8080, weight: 9}, {name: gone, port: 80, weight: 1}]
    timeouts: {request: 2s}
    retry: {attempts: 3}
  - name: one
    matches: [{path: {type: Exact, value: /items/1}, method: GET}]
    backendRefs: [{name: inventory, port: 8080}]
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: {name: inventory, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: inventory}]
  loadBalancer: {algorithm: EWMA}
  circuitBreaker: [{scope: Endpoint, errorThresholdPercentage: 40}]
---
apiVersion: outrigger.dev/v1alpha1
kind: FaultInjection
metadata: {name: half, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: inventory}]
  abort: {percentage: 50, httpStatus: 503}
  expiresAt: "2020-01-01T00:00:00Z"
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: no-deletes, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: inventory}]
  action: DENY
  mode: Shadow
  rules: [{to: [{methods: [DELETE], paths: [/items*]}]}]
`,
  )
  const { status, stdout, stderr } = await runCommand(['describe', 'service/inventory', '-n', 'shop', '-f', shop, more])
  assert.equal(status, 0, stderr)
  const lines = stdout.split('\n')
  const at = (line: string): number => {
    assert.ok(lines.includes(line), `${line}\n${stdout}`)
    return lines.indexOf(line)
  }
  assert.match(
    lines[at('Routes, in the order in which they are tried (every port)') + 1]!,
    /1\. GET = \/items\/1 -> shop\/inventory:8080 {2}\[HTTPRoute\/shop\/inventory@\w+ rule one\]/,
  )
  assert.match(
    stdout,
    / {2}2\. \/items\* -> shop\/inventory:8080 90 %, shop\/gone:80 10 % \(500: cannot be used\); request 2000 ms, 3 retries {2}\[HTTPRoute/,
  )
  at('  anything else: 404')
  at('Endpoints (2 of 2 ready)')
  at('  by BackendPolicy shop/inventory')
  at('  balancing   EWMA')
  assert.match(stdout, / {2}breaker {5}per Endpoint: rejects from 40 % failures on/)
  at('  abort 50 %: 503, expired  [FaultInjection shop/half]')
  at('  STRICT: only peers of the mesh  [PeerAuthentication shop/default]')
  at(
    '  refused: anyone, method DELETE and path /items*  [AuthorizationPolicy shop/no-deletes (Shadow: counted, not enforced)]',
  )
  at('  everything else is refused')
  assert.match(
    stdout,
    /Findings\n {2}error ORG2001 HTTPRoute shop\/inventory: spec\.rules\[0\].*Service shop\/gone does not exist\n {2}warning ORG2011 FaultInjection shop\/half: /,
  )
})

test('a GRPCRoute: services and methods in order, and what becomes of the rest', async () => {
  const file = join(folder, 'grpc.yaml')
  const text = (rules: string) => `apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {ports: [{name: grpc, port: 9000}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: orders, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: orders}]
  rules: [${rules}]
---
apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: {name: orders, namespace: shop}
spec: {targetRefs: [{kind: Service, name: orders}], timeouts: {request: 2s}}
`
  const described = async (rules: string) => {
    writeFileSync(file, text(rules))
    const { status, stdout, stderr } = await runCommand(['describe', 'service/orders', '-n', 'shop', '-f', file])
    assert.equal(status, 0, stderr)
    return stdout
  }
  const get = '{name: get, matches: [{method: {method: Get}}], backendRefs: [{name: gone, port: 9000}]}'
  const one =
    '{name: one, matches: [{method: {service: shop.Orders, method: Get}}, {method: {service: shop.Orders}}], backendRefs: [{name: orders, port: 9000}]}'
  const some = await described(`${get}, ${one}`)
  for (const line of [
    /1\. gRPC = \/shop\.Orders\/Get -> shop\/orders:9000; request 2000 ms {2}\[GRPCRoute\/shop\/orders@\w+ rule one\]/,
    /2\. gRPC \/shop\.Orders\* -> shop\/orders:9000/,
    /3\. gRPC ~ \/\[\^\/\]\+\/Get -> shop\/gone:9000 \(UNAVAILABLE: cannot be used\)/,
    / {2}anything else: UNIMPLEMENTED; what is not gRPC: 404/,
    / {2}times {7}request 2s/,
  ])
    assert.match(some, line)
  const all = await described(`${one}, {name: rest, backendRefs: [{name: orders, port: 9000}]}`)
  const http = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: old, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: orders}], rules: [{backendRefs: [{name: orders, port: 9000}]}]}
---
`
  writeFileSync(file, http + text(one))
  const { stdout: beside } = await runCommand(['describe', 'service/orders', '-n', 'shop', '-f', file])
  assert.doesNotMatch(beside, /\[HTTPRoute/)
  assert.match(beside, /Findings\n {2}error ORG2018 HTTPRoute shop\/old: .*GRPCRoute shop\/orders has port 9000/)
  assert.match(all, /3\. gRPC any method -> shop\/orders:9000.*rule rest\]\n {2}what is not gRPC: 404/)
})

test('a name that both have, and names that nobody has', async () => {
  const both = await runCommand(['describe', 'shop/web', '-f', shop, '-o', 'json'])
  assert.deepEqual(
    (JSON.parse(both.stdout) as { of: string }[]).map(({ of }) => of),
    ['Service shop/web', 'Pod shop/web'],
  )
  const one = await runCommand(['describe', 'pod/web.shop', '-f', shop, '-o', 'json'])
  assert.deepEqual(
    (JSON.parse(one.stdout) as { of: string }[]).map(({ of }) => of),
    ['Pod shop/web'],
  )
  for (const [word, expected] of [
    ['shop/ordrs', /no Pod or Service ordrs in namespace shop; did you mean orders\?/],
    ['svc/shop/client', /no Service client in namespace shop; there are: /],
    ['pod/inventory', /no Pod inventory in namespace default; that namespace has none, choose another with -n/],
  ] as const) {
    const { status, stderr } = await runCommand(['describe', word, '-f', shop])
    assert.equal(status, 1)
    assert.match(stderr, expected)
  }
})

test('in a cluster the sidecar has its say: where it is connected, and when that is not known', async () => {
  const mark = { annotations: { 'outrigger.dev/status': '{"hash":"a"}' } }
  const spec = {
    initContainers: [{ name: 'outrigger-proxy', image: 'outrigger:0.1.0' }],
    containers: [{ name: 'app' }],
  }
  const status = {
    phase: 'Running',
    initContainerStatuses: [{ name: 'outrigger-proxy', ready: true, restartCount: 2 }],
  }
  await using cluster = await CliCluster.start(
    ...controlPlaneObjects('cp-a'),
    pod('shop', 'web-1', { metadata: mark, spec, status }),
    pod('shop', 'bare-1'),
  )
  const silent = await cluster.run('describe', 'web-1')
  assert.equal(silent.status, 0, silent.stderr)
  assert.match(
    silent.stdout,
    /Sidecar\n {2}runs, ready, restarted 2 times\n {2}image outrigger:0\.1\.0\n {2}in sync\? not known: port 15014 of Pod outrigger-system\/cp-a: nothing listens/,
  )
  await cluster.serve('outrigger-system', 'cp-a', 15_014, {
    '/status': replicaStatus({ sidecars: [sidecar('shop/web-1')] }),
  })
  const { stdout } = await cluster.run('describe', 'web-1')
  assert.match(
    stdout,
    /connected to cp-a, in sync\n {2}certificate: 20h left\nIdentity\n {2}spiffe:\/\/cluster\.local\/ns\/shop\/sa\/default/,
  )
  const bare = await cluster.run('describe', 'bare-1')
  assert.match(bare.stdout, /Sidecar\n {2}none: 'outrigger check inject shop\/bare-1' says why\nIdentity\n {2}none/)
})

const path = fc.constantFrom('/', '/a', '/a/b', '/a/b/c', '/ab')
const match = fc.record(
  {
    pathType: fc.constantFrom('STRING_MATCH_TYPE_EXACT', 'STRING_MATCH_TYPE_PREFIX', 'STRING_MATCH_TYPE_REGEX'),
    path,
    method: fc.constantFrom('', 'GET'),
    headers: fc.constantFrom(
      [],
      [{ name: 'x', value: '1' }],
      [
        { name: 'x', value: '1' },
        { name: 'y', value: '2' },
      ],
    ),
    query: fc.constantFrom([], [{ name: 'q', value: '1' }]),
    grpc: fc.record({ serviceCharacters: fc.nat(2), methodCharacters: fc.nat(2) }),
  },
  { requiredKeys: ['pathType', 'path', 'method', 'headers', 'query'] },
)

test('the order is the one that the sidecar finds', () => {
  const rules = fc.array(fc.array(match, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 })
  const request = fc.record({
    path,
    method: fc.constantFrom('GET', 'POST'),
    headers: fc.constantFrom<string[]>([], ['x', '1'], ['x', '1', 'y', '2'], ['content-type', 'application/grpc']),
    query: fc.boolean(),
  })
  fc.assert(
    fc.property(rules, request, (all, { path: target, method, headers, query }) => {
      const exact = (list: readonly { name: string; value: string }[]) =>
        list.map((one) => ({ ...one, type: 'STRING_MATCH_TYPE_EXACT' }))
      const json = all.map((matches, at) => ({
        ref: { kind: 'HTTPRoute', namespace: 'shop', name: 'r' },
        name: String(at),
        matches: matches.map((one) => ({ ...one, headers: exact(one.headers), query: exact(one.query) })),
      }))
      const table = compileRoutes(fromJson(ServiceSchema, { namespace: 'shop', name: 's', rules: json }), 'shop')
      const request = exchange({ method, target: query ? `${target}?q=1` : target, headers: [...headers] })
      const found = table.match(request, 80)
      const first = inPrecedence(json).find(({ match: one }) => {
        const alone = compileRoutes(
          fromJson(ServiceSchema, {
            rules: [{ ref: json[0]!.ref, name: '0', matches: [one as (typeof json)[0]['matches'][0]] }],
          }),
          'shop',
        )
        return alone.match(request, 80) !== undefined
      })
      assert.equal(found?.rule.name, first?.rule.name)
    }),
    { numRuns: 300 },
  )
})
