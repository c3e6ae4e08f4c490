import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { brokenPolicies } from '../../../test/support/broken-policies.ts'
import { goodPolicies } from '../../../test/support/policies.ts'
import { loadDocuments } from '../documents/load-documents.ts'
import { backendPolicy } from './backend-policy.ts'

function faults(kind: string, spec: unknown): string[] {
  const text = JSON.stringify({ apiVersion: 'outrigger.dev/v1alpha1', kind, metadata: { name: 'p' }, spec })
  return loadDocuments([{ path: 'x', text }]).problems.map(({ path, message }) => `${path}: ${message}`)
}

describe('accepted', () => {
  for (const [kind, name, spec] of goodPolicies)
    test(`${kind}: ${name}`, () => assert.deepEqual(faults(kind, spec), []))
})

describe('refused', () => {
  for (const [kind, spec, ...expected] of brokenPolicies) {
    test(expected[0]!.slice(0, 100), () => assert.deepEqual(faults(kind, spec).sort(), [...expected].sort()))
  }
})

test('defaults are filled in where the mesh has one value for all', () => {
  const { spec } = backendPolicy.parse({
    apiVersion: 'outrigger.dev/v1alpha1',
    kind: 'BackendPolicy',
    metadata: { name: 'p' },
    spec: { targetRefs: [{ kind: 'Service', name: 'web' }], circuitBreaker: [{}], retry: {}, retryConstraint: {} },
  })
  assert.deepEqual(spec, {
    mode: 'Enforce',
    targetRefs: [{ kind: 'Service', name: 'web' }],
    circuitBreaker: [
      {
        scope: 'Endpoint',
        errorThresholdPercentage: 50,
        volumeThreshold: 10,
        rollingWindow: '10s',
        resetTimeout: '30s',
      },
    ],
    // Left open: an HTTPRoute may say them.
    retry: {},
    retryConstraint: { budget: { percent: 20, interval: '10s' }, minRetryRate: { count: 10, interval: '1s' } },
  })
})
