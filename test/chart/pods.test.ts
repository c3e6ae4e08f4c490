/** Every Pod of the chart is one that Pod Security "restricted" admits, and is found by what should find it. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import { parseDocuments } from '../cluster/cluster.ts'
import { find, type Manifest, render, renderWith, scenarios } from './render.ts'

for (const scenario of scenarios) {
  describe(scenario.name, () => {
    it('Pods satisfy "restricted", have resources and mount no token unasked', async () => {
      const documents = parseDocuments(await render(scenario))
      for (const { metadata, spec } of documents.filter(({ kind }) => kind === 'Deployment')) {
        const pod = spec.template.spec
        assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault')
        for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) assert.equal(pod[field], undefined)
        assert.equal(pod.automountServiceAccountToken, metadata.name !== 'outrigger-jaeger')
        for (const volume of pod.volumes) assert.ok(volume.configMap ?? volume.emptyDir, JSON.stringify(volume))
        for (const container of pod.containers) {
          const { allowPrivilegeEscalation, capabilities, runAsNonRoot, readOnlyRootFilesystem } =
            container.securityContext
          assert.deepEqual(
            [allowPrivilegeEscalation, capabilities, runAsNonRoot, readOnlyRootFilesystem],
            [false, { drop: ['ALL'] }, true, true],
          )
          assert.ok(pod.securityContext.runAsUser > 0)
          assert.ok(container.resources.requests.cpu && container.resources.limits.memory)
          assert.ok(container.readinessProbe)
        }
        // No sidecar of its own, whatever its Namespace says.
        assert.equal(spec.template.metadata.labels['outrigger.dev/inject'], 'false')
      }
    })

    it('selectors select the Pods that are meant, and names are those of the code', async () => {
      const documents = parseDocuments(await render(scenario))
      const deployments = documents.filter(({ kind }) => kind === 'Deployment')
      const matching = (selector: object): string[] =>
        deployments
          .filter(({ spec }) =>
            Object.entries(selector).every(([key, value]) => spec.template.metadata.labels[key] === value),
          )
          .map(({ metadata }) => metadata.name)
      for (const { kind, metadata, spec } of documents) {
        const selector = kind === 'Service' ? spec.selector : (spec?.podSelector ?? spec?.selector)?.matchLabels
        if (selector === undefined || kind === 'ServiceMonitor') continue
        assert.deepEqual(matching(selector), [metadata.name], `${kind} ${metadata.name}`)
      }
      for (const kind of ['Deployment', 'Service', 'ServiceAccount']) find(documents, kind, inSystem.name)
      find(documents, 'MutatingWebhookConfiguration', inSystem.webhookConfiguration)
      for (const document of documents) {
        assert.equal(document.metadata.labels['app.kubernetes.io/part-of'], 'outrigger')
        const isOfCluster = /^Cluster|^MutatingWebhook/.test(document.kind)
        assert.equal(document.metadata.namespace, isOfCluster ? undefined : 'outrigger-system', document.metadata.name)
      }
    })
  })
}

it('the ServiceMonitor finds the Service and a port of it', async () => {
  const documents = parseDocuments(await render(scenarios.find(({ name }) => name === 'prometheus-operator')!))
  const { spec } = find(documents, 'ServiceMonitor')
  const service = find(documents, 'Service')
  for (const [key, value] of Object.entries(spec.selector.matchLabels))
    assert.equal(service.metadata.labels[key], value)
  assert.ok(service.spec.ports.some((it: Manifest) => it.name === spec.endpoints[0].port))
})

it('high availability is three replicas on three nodes, of which one may be away', async () => {
  const documents = parseDocuments(await render(scenarios.find(({ name }) => name === 'ha')!))
  const { spec } = find(documents, 'Deployment')
  // The autoscaler's: what the chart said would undo it at every upgrade.
  assert.equal(spec.replicas, undefined)
  assert.equal(find(documents, 'HorizontalPodAutoscaler').spec.minReplicas, 3)
  const budget = find(documents, 'PodDisruptionBudget').spec
  assert.deepEqual([budget.maxUnavailable, budget.unhealthyPodEvictionPolicy], [1, 'AlwaysAllow'])
  const { podAntiAffinity } = spec.template.spec.affinity
  assert.equal(podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey, 'kubernetes.io/hostname')
  assert.equal(spec.template.spec.topologySpreadConstraints[0].topologyKey, 'topology.kubernetes.io/zone')
  find(documents, 'NetworkPolicy')
})

it('a replica goes only when a new one is there, and ends in the time that it has', async () => {
  const { spec } = find(await renderWith({}), 'Deployment')
  assert.deepEqual(spec.strategy.rollingUpdate, { maxUnavailable: 0, maxSurge: 1 })
  const { terminationGracePeriodSeconds, containers } = spec.template.spec
  assert.ok(containers[0].lifecycle.preStop.sleep.seconds < terminationGracePeriodSeconds)
})
