import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseControlPlaneConfig } from '../../../control-plane/config.ts'
import { injectPod } from '../../../control-plane/inject/inject-pod.ts'
import type { Pod } from '../../../control-plane/inject/pod.ts'
import { isOld } from '../check/workloads.ts'
import { asClusterPod } from './pods.ts'
import { uninjected } from './uninjected.ts'

const context = { namespace: 'shop', namespaceLabels: { 'outrigger.dev/inject': 'enabled' } }
const template = (image: string) => ({
  config: parseControlPlaneConfig(`injector: {image: ${image}}`, 'test'),
  systemNamespace: 'outrigger-system',
})

const probes: Pod = {
  metadata: { name: 'web', labels: { app: 'web' }, annotations: { 'proxy.outrigger.dev/cpu': '1' } },
  spec: {
    terminationGracePeriodSeconds: 3,
    initContainers: [{ name: 'migrate' }],
    containers: [
      {
        name: 'web',
        ports: [{ name: 'http', containerPort: 8080 }],
        livenessProbe: { httpGet: { path: '/live?x=1', port: 'http', httpHeaders: [{ name: 'a', value: 'b' }] } },
        readinessProbe: { tcpSocket: { port: 8080 }, timeoutSeconds: 3 },
        startupProbe: { exec: { command: ['true'] } },
      },
      { name: 'grpc', livenessProbe: { grpc: { port: 9090, service: 's' }, periodSeconds: 2 } },
    ],
    volumes: [{ name: 'data' }],
  },
}

for (const [what, pod] of [
  ['probes of each kind', probes],
  ['nothing', { metadata: {}, spec: { containers: [{ name: 'a' }] } }],
  ['no capture', { ...probes, metadata: { annotations: { 'proxy.outrigger.dev/interceptionMode': 'NONE' } } }],
  ['a classic sidecar', { ...probes, metadata: { annotations: { 'proxy.outrigger.dev/nativeSidecar': 'false' } } }],
] as const) {
  test(`a Pod with ${what}: injection today writes the same, and other settings are seen`, () => {
    const result = injectPod(pod, context, template('outrigger:1'))
    assert.equal(result.is, 'injected')
    const injected = JSON.parse(JSON.stringify(result.is === 'injected' ? result.pod : {})) as Pod
    assert.equal(isOld(asClusterPod(injected), template('outrigger:1')), false)
    assert.equal(isOld(asClusterPod(injected), template('outrigger:2')), true)
  })
}

test('what injection adds is gone', () => {
  const result = injectPod(probes, context, template('outrigger:1'))
  const { spec, metadata } = uninjected(result.is === 'injected' ? result.pod : {})
  assert.deepEqual(
    [spec?.initContainers, spec?.containers, spec?.volumes].map((list) => list?.map(({ name }) => name)),
    [['migrate'], ['web', 'grpc'], ['data']],
  )
  assert.equal(metadata?.annotations?.['outrigger.dev/status'], undefined)
  assert.deepEqual(spec?.containers?.[0]?.readinessProbe, { tcpSocket: { port: 8080 }, timeoutSeconds: 3 })
})
