/** The API server asks about exactly the Pods that could get a sidecar: its selectors say what inject/decision.ts says. */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { decide } from '../../control-plane/inject/decision.ts'
import { find, type Manifest, renderWith } from './render.ts'

type Labels = Readonly<Record<string, string>>
interface Selector {
  readonly matchExpressions: readonly { readonly key: string; readonly operator: string; readonly values: string[] }[]
}

const label = 'outrigger.dev/inject'
let configuration: Manifest
before(async () => {
  configuration = find(await renderWith({}), 'MutatingWebhookConfiguration')
})

/** As labels.Selector has it: NotIn holds, too, where there is no such label. */
function selects(selector: Selector, labels: Labels): boolean {
  return selector.matchExpressions.every(({ key, operator, values }) => {
    const value = labels[key]
    assert.ok(operator === 'In' || operator === 'NotIn', operator)
    return operator === 'In'
      ? value !== undefined && values.includes(value)
      : value === undefined || !values.includes(value)
  })
}

function asked(namespace: string, namespaceLabels: Labels, podLabels: Labels): string[] {
  const ofNamespace = { ...namespaceLabels, 'kubernetes.io/metadata.name': namespace }
  return configuration.webhooks
    .filter((it: Manifest) => selects(it.namespaceSelector, ofNamespace) && selects(it.objectSelector, podLabels))
    .map(({ name }: { name: string }) => name)
}

describe('for each pair of labels', () => {
  for (const namespace of ['shop', 'kube-system', 'kube-public', 'kube-node-lease', 'outrigger-system']) {
    for (const ofNamespace of [undefined, 'enabled', 'disabled', 'yes']) {
      for (const ofPod of [undefined, 'true', 'false', 'yes']) {
        it(`${namespace}: ${ofNamespace ?? '-'}, ${ofPod ?? '-'}`, () => {
          const namespaceLabels: Labels = ofNamespace === undefined ? {} : { [label]: ofNamespace }
          const labels: Labels = ofPod === undefined ? {} : { [label]: ofPod }
          const decision = decide(
            { metadata: { labels }, spec: { containers: [{ name: 'app' }] } },
            { namespace, namespaceLabels, systemNamespace: 'outrigger-system' },
          )
          const names = asked(namespace, namespaceLabels, labels)
          assert.ok(names.length <= 1, `asked twice: ${names}`)
          // A label that is no answer is refused where the Namespace is meshed; elsewhere nobody asks about it.
          const isWanted = decision.is === 'inject' || (decision.is === 'refuse' && ofNamespace === 'enabled')
          assert.equal(names.length === 1, isWanted, JSON.stringify(decision))
        })
      }
    }
  }
})

it('more namespaces can be left out', async () => {
  const documents = await renderWith({ webhook: { excludedNamespaces: ['ci', 'kube-system'] } })
  for (const { namespaceSelector } of find(documents, 'MutatingWebhookConfiguration').webhooks) {
    const [names] = namespaceSelector.matchExpressions
    assert.deepEqual(names.values, ['kube-system', 'kube-public', 'kube-node-lease', 'outrigger-system', 'ci'])
  }
})

it('the chart does not name caBundle, which the control plane keeps: an upgrade leaves it alone', () => {
  for (const { clientConfig } of configuration.webhooks) assert.deepEqual(Object.keys(clientConfig), ['service'])
})

it('it leads to the Service, on the port where the control plane serves injection', async () => {
  const documents = await renderWith({})
  const service = find(documents, 'Service')
  const [container] = find(documents, 'Deployment').spec.template.spec.containers
  for (const { clientConfig, failurePolicy, timeoutSeconds, sideEffects } of configuration.webhooks) {
    const { name, namespace, path, port } = clientConfig.service
    assert.deepEqual([name, namespace, path], [service.metadata.name, service.metadata.namespace, '/inject'])
    const target = service.spec.ports.find((it: Manifest) => it.port === port).targetPort
    assert.equal(container.ports.find((it: Manifest) => it.name === target).containerPort, 15_017)
    assert.deepEqual([failurePolicy, timeoutSeconds, sideEffects], ['Fail', 10, 'None'])
  }
})
