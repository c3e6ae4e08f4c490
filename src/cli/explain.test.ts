import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Explanation, explain } from './explain.ts'

const command = fileURLToPath(new URL('./outrigger', import.meta.url))

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(command, ['explain', ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

test('a kind by name, plural or short name; fields of lists without an index', () => {
  for (const words of [
    'BackendPolicy.spec.circuitBreaker',
    'backendpolicies.spec.circuitBreaker',
    'bep.spec.circuitBreaker[0]',
    'bep.spec.circuitBreaker[]',
  ]) {
    const found = explain(words) as Explanation
    assert.equal(found.path, 'spec.circuitBreaker')
    assert.equal(found.type, 'list of maps')
    assert.deepEqual(found.fields[0], {
      name: 'scope',
      type: 'one of Service, Endpoint',
      required: false,
      description: 'One breaker for the Service, or one for each endpoint.',
      default: 'Endpoint',
    })
  }
})

test('required fields, types and ranges', () => {
  const types = Object.fromEntries(
    (explain('httproute.spec.rules.backendRefs') as Explanation).fields.map((f) => [
      f.name,
      `${f.type}${f.required ? ' !' : ''}`,
    ]),
  )
  assert.deepEqual(types, {
    group: 'string',
    kind: 'string',
    name: 'string !',
    namespace: 'string',
    port: 'whole number from 1 to 65535',
    weight: 'whole number from 0 to 1000000',
    filters: 'list of maps',
  })
  const port = explain('pa.spec.portLevelMtls') as Explanation
  assert.deepEqual([port.type, port.fields[0]?.name], ['map of maps by key', 'mode'])
  assert.equal((explain('fi.spec.expiresAt') as Explanation).type, 'RFC 3339 time such as 2030-01-31T12:00:00Z')
  assert.equal((explain('pod.spec.serviceAccountName') as Explanation).default, 'default')
})

test('what is not supported says so', () => {
  const { fields } = explain('httproute.spec.rules') as Explanation
  const field = fields.find(({ name }) => name === 'sessionPersistence')
  assert.match(field?.description ?? '', /Not supported for a Service/)
})

test('unknown words, with what was meant', () => {
  assert.equal(explain('HttpRout'), 'unknown kind: "HttpRout"; did you mean HTTPRoute?')
  assert.equal(
    explain('bep.spec.retry.perTryTimout'),
    'unknown field of BackendPolicy.spec.retry: "perTryTimout"; did you mean perTryTimeout?',
  )
  assert.equal(
    explain('bep.spec.retry.zzzzz'),
    'unknown field of BackendPolicy.spec.retry: "zzzzz"; known are attempts, retryOn, codes, methods, perTryTimeout, backoff, maxBodyBytes',
  )
  assert.equal(explain('bep.spec.mode.deeper'), 'unknown field of BackendPolicy.spec.mode: "deeper"; it has none')
  assert.equal(
    explain('bep.constructor'),
    'unknown field of BackendPolicy: "constructor"; known are apiVersion, kind, metadata, spec, status',
  )
})

test('outrigger explain KIND.field reads like kubectl explain', () => {
  const { status, stdout, stderr } = run('telpol.spec.tracing')
  assert.equal(
    stdout,
    `KIND:     TelemetryPolicy
VERSION:  outrigger.dev/v1alpha1
FIELD:    spec.tracing <map>

DESCRIPTION:
  Traces. Default: the mesh's setting.

FIELDS:
  samplingRate <number from 0 to 100>  required
    Share of new traces that are sampled, in percent, such as 0.1.
`,
  )
  assert.deepEqual([status, stderr], [0, ''])
})

test('outrigger explain lists the kinds; -o json is for programs', () => {
  assert.match(
    run().stdout,
    /^KIND +SHORT +VERSION\nHTTPRoute +gateway\.networking\.k8s\.io\/v1\nGRPCRoute +gateway\.networking\.k8s\.io\/v1\nBackendPolicy +bep +outrigger/,
  )
  const kinds = JSON.parse(run('-o', 'json').stdout) as { kind: string }[]
  assert.equal(kinds[0]?.kind, 'HTTPRoute')
})

test('outrigger explain of an unknown kind is a wrong command line', () => {
  const { status, stdout, stderr } = run('Servise')
  assert.deepEqual([status, stdout], [2, ''])
  assert.match(stderr, /^error: unknown kind: "Servise"; did you mean Service\?\n/)
})
