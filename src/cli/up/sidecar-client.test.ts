import assert from 'node:assert/strict'
import { test } from 'node:test'
import { samples } from './sidecar-client.ts'

test('samples of one metric, with their labels', () => {
  const text = [
    '# HELP outrigger_circuit_transitions_total Changes',
    'outrigger_circuit_transitions_total{service="shop/a",scope="endpoint",to="open"} 3',
    'outrigger_circuit_transitions_total{service="sh\\"op{}/b",scope="service",to="half-open"} 1 1700000000',
    'outrigger_circuit_transitions_total_other{to="open"} 9',
    'outrigger_requests_total{to="open"} 9',
  ].join('\n')
  assert.deepEqual(
    [...samples(text, 'outrigger_circuit_transitions_total')],
    [
      { labels: { service: 'shop/a', scope: 'endpoint', to: 'open' }, value: 3 },
      { labels: { service: 'sh\\"op{}/b', scope: 'service', to: 'half-open' }, value: 1 },
    ],
  )
})
