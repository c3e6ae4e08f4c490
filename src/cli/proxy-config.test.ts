import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ApiObject } from '../../control-plane/kubernetes/cluster.ts'
import { CliCluster, pod, runCommand } from '../../test/support/cli-cluster.ts'
import { proxyText, type SidecarView } from './proxy-tables.ts'

const policyRef = { kind: 'HTTPRoute', namespace: 'shop', name: 'orders', version: '3' }
const view: SidecarView = {
  config: {
    workload: 'shop/web-1',
    connected: true,
    since: 0,
    source: 'stream',
    revision: 7,
    effectiveHash: 'abcd',
    resources: [
      {
        name: 'service/shop/orders',
        version: 'v1',
        content: {
          service: {
            policy: { ref: { kind: 'BackendPolicy', namespace: 'shop', name: 'orders', version: '9' } },
            rules: [
              {
                ref: policyRef,
                name: 'canary',
                port: 80,
                matches: [{ path: '/v2', method: 'GET', headers: [{ name: 'x-canary', value: 'yes' }] }],
                backends: [
                  { namespace: 'shop', name: 'orders', port: 80, weight: 9 },
                  { namespace: 'shop', name: 'orders-v2', port: 80, weight: 1, invalid: 'does not exist' },
                ],
                retry: { retries: 2 },
                requestTimeoutMs: 1000,
                faults: [{ ref: { kind: 'FaultInjection', namespace: 'shop', name: 'half', version: '1' } }],
              },
              { name: 'default', port: 9090, matches: [{ pathType: 'STRING_MATCH_TYPE_PREFIX', path: '/' }] },
            ],
          },
        },
      },
      {
        name: 'workload/shop/web-1',
        version: 'v2',
        content: {
          workload: {
            mtls: 'MTLS_MODE_STRICT',
            mtlsRef: { kind: 'PeerAuthentication', namespace: 'shop', name: 'strict', version: '2' },
            authorizations: [
              {
                ref: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'callers', version: '4' },
                action: 'ACTION_DENY',
              },
            ],
          },
        },
      },
    ],
    rejected: [{ resource: 'service/shop/bad', version: 'v9', reason: 'a regex\nthat does not compile' }],
  },
  stats: {
    workload: 'shop/web-1',
    uptimeMs: 61_000,
    ready: false,
    readyReason: 'no policy yet',
    controlPlane: { connected: false, revision: 7 },
    certificate: { spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', expiresAtMs: 3_600_000 },
    upstreams: [{ service: 'shop/orders', requests: 12, failures: 3, retries: 4, inFlight: 1, endpoints: 1 }],
  } as unknown as SidecarView['stats'],
  backends: {
    services: [
      {
        service: 'shop/orders',
        policy: undefined,
        breaker: { state: 'open', shadow: false, requests: 1, failures: 1, rejected: 0, openedAt: 0, cause: '' },
        backends: [
          {
            port: 80,
            endpoints: [
              {
                endpoint: '10.0.0.7:8080',
                workload: 'orders-1',
                ready: true,
                inFlight: 1,
                latencyMs: 2.26,
                ejectedUntil: 5,
                breaker: undefined,
              },
            ],
            budgets: [],
          },
        ],
      },
    ],
  },
}

test('the tables say what is in force, by which policy', () => {
  const text = proxyText(view, 0)
  for (const line of [
    /^workload +shop\/web-1, up for 61s$/m,
    /^ready +no: no policy yet$/m,
    /^control plane +not connected: the last policy stays in force, revision 7$/m,
    /^certificate +spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web, 60m left$/m,
    /^ {2}mTLS STRICT by PeerAuthentication\/shop\/strict@2$/m,
    /^ {2}DENY by AuthorizationPolicy\/shop\/callers@4$/m,
    /^shop\/orders +1 +open \(rejecting\) +12 +3 +4 +1 +shop\/orders@9$/m,
    /^shop\/orders +80 +HTTPRoute\/shop\/orders@3 rule canary +GET \/v2\* x-canary: yes +shop\/orders:80 90 %, shop\/orders-v2:80 10 % \(500: cannot be used\) +request 1000 ms, 2 retries, fault half$/m,
    /^shop\/orders +9090 +default +any path +nothing +-$/m,
    /^shop\/orders +80 +10\.0\.0\.7:8080 +orders-1 +ejected +- +2\.3 ms +1$/m,
    /^service\/shop\/orders +v1$/m,
    /^ {2}service\/shop\/bad@v9: a regex.*that does not compile$/m,
  ])
    assert.match(text, line)
})

const meshed = (status: object): ApiObject => ({
  metadata: { annotations: { 'outrigger.dev/status': '{"hash":"a"}' } },
  spec: { initContainers: [{ name: 'outrigger-init' }, { name: 'outrigger-proxy' }], containers: [{ name: 'app' }] },
  status,
})
const running = { phase: 'Running', initContainerStatuses: [{ name: 'outrigger-proxy', ready: true, state: {} }] }

test('a Pod is found by each way to write it, and asked at its loopback port', async () => {
  await using cluster = await CliCluster.start(pod('shop', 'web-1', meshed(running)))
  await cluster.serve('shop', 'web-1', 15_000, {
    '/config_dump': view.config,
    '/stats': view.stats,
    '/backends': view.backends,
  })
  for (const word of ['shop/web-1', 'web-1.shop', 'web-1', 'pod/web-1']) {
    const { status, stdout, stderr } = await cluster.run('proxy', 'config', word, '-o', 'json')
    assert.equal(status, 0, stderr)
    assert.equal((JSON.parse(stdout) as SidecarView).config.effectiveHash, 'abcd')
  }
})

test('what is in the way is said with what to do', async () => {
  const waiting = { initContainerStatuses: [{ name: 'outrigger-init', state: { terminated: { exitCode: 1 } } }] }
  const pulling = {
    initContainerStatuses: [{ name: 'outrigger-proxy', state: { waiting: { reason: 'ErrImagePull', message: 'no' } } }],
  }
  await using cluster = await CliCluster.start(
    pod('shop', 'web-7c9d8-x2x4v', meshed(running)),
    pod('shop', 'plain-1'),
    pod('shop', 'stuck-1', meshed(waiting)),
    pod('shop', 'pulling-1', meshed(pulling)),
  )
  for (const [word, expected] of [
    ['web', /no Pod web in namespace shop; did you mean web-7c9d8-x2x4v\?/],
    ['plain', /did you mean plain-1\?/],
    ['webb.shop', /no Pod webb in namespace shop; there are: /],
    ['nothing-like-it', /no Pod nothing-like-it in namespace shop; there are: plain-1, /],
    ['bank/web', /no Pod web: namespace bank has none; choose another with -n/],
    ['plain-1', /Pod shop\/plain-1 has no sidecar: 'outrigger check inject shop\/plain-1' says why/],
    ['stuck-1', /the sidecar of Pod shop\/stuck-1 does not run: its init container has ended: exit code 1/],
    ['pulling-1', /does not run: waits: ErrImagePull: no/],
    ['web-7c9d8-x2x4v', /port 15000 of Pod shop\/web-7c9d8-x2x4v: nothing listens there/],
  ] as const) {
    const { status, stdout, stderr } = await cluster.run('proxy', 'config', word)
    assert.deepEqual([status, stdout], [1, ''], word)
    assert.match(stderr, expected)
  }
})

test('wrong command lines, and nobody at --admin', async () => {
  const none = await runCommand(['proxy', 'config'])
  const both = await runCommand(['proxy', 'config', 'web', '--admin', '127.0.0.1:1'])
  const nobody = await runCommand(['proxy', 'config', '--admin', '127.0.0.1:1'])
  assert.deepEqual([none.status, both.status, nobody.status], [2, 2, 1])
  assert.match(none.stderr, /name one Pod, or a sidecar with --admin HOST:PORT/)
  assert.match(nobody.stderr, /no sidecar answers at 127\.0\.0\.1:1 \(ECONNREFUSED\)/)
})
