/** The definitions of our kinds on a real API server: what it takes, what it refuses, and in which words. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { crdFiles, ownKinds } from '../../src/api/generate-crds.ts'
import { type KindTraits, kinds } from '../../src/api/policy/kinds.ts'
import { brokenPolicies } from '../support/broken-policies.ts'
import { goodPolicies } from '../support/policies.ts'
import { type Cluster, openCluster, parseDocuments } from './cluster.ts'
import { installDefinitions } from './mesh.ts'
import type { Namespace } from './namespace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

let cluster: Cluster
let shop: Namespace

before(async () => {
  cluster = await openCluster()
  await installDefinitions(cluster)
  for (const kind of ownKinds)
    await cluster.kubectl([
      'wait',
      '--for=condition=Established',
      `crd/${kinds[kind].plural}.outrigger.dev`,
      '--timeout=30s',
    ])
  shop = await cluster.namespace('crds')
})
after(() => cluster?.[Symbol.asyncDispose]())

const policy = (kind: string, name: string, spec: unknown) => ({
  apiVersion: 'outrigger.dev/v1alpha1',
  kind,
  metadata: { name, namespace: shop.name },
  spec,
})
/** As a person's `kubectl apply`, which is strict about fields. */
const apply = (document: unknown, ...args: string[]) =>
  cluster.attempt(['apply', '--filename', '-', ...args], { stdin: JSON.stringify(document) })

test('every definition is taken, and has no condition that says that something is wrong with it', async () => {
  for (const kind of ownKinds) {
    const { status } = await cluster.get('crd', `${kinds[kind].plural}.outrigger.dev`)
    const conditions: { type: string; status: string; message: string }[] = status.conditions
    assert.deepEqual(
      conditions.filter((one) => one.type === 'NonStructuralSchema').map((one) => one.message),
      [],
    )
    assert.equal(conditions.find((one) => one.type === 'NamesAccepted')?.status, 'True')
  }
  assert.equal(crdFiles().size, ownKinds.length)
})

test('kubectl explain has every field of the first level with its meaning', async () => {
  for (const kind of ownKinds) {
    const text = await cluster.kubectl([
      'explain',
      `${kinds[kind].plural}.spec`,
      '--api-version=outrigger.dev/v1alpha1',
    ])
    assert.match(text, /mode\s+<string>\n\s+enum: Enforce, Shadow\n\s+Enforce: in force/)
  }
  assert.match(await cluster.kubectl(['explain', 'bep.spec.retry.perTryTimeout']), /Time of one try/)
})

test('short names, the category and the columns', async () => {
  await shop.apply(policy('BackendPolicy', 'columns', { targetRefs: [{ kind: 'Service', name: 'web' }] }))
  // Where a control plane runs, its own word replaces this one.
  const condition = { status: 'True', reason: 'Accepted', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }
  const status = { conditions: [{ type: 'Accepted', ...condition }] }
  const patch = ['--subresource=status', '--type=merge', '--patch', JSON.stringify({ status })]
  await shop.kubectl(['patch', 'backendpolicy/columns', ...patch])
  const table = await shop.kubectl(['get', 'outrigger'])
  assert.match(table, /NAME +TARGET +ACCEPTED +PROGRAMMED +AGE\n\S*columns +web +(True|False) .*\d+s\n/)
  for (const kind of ownKinds) {
    const { shortNames }: KindTraits = kinds[kind]
    for (const name of shortNames) await shop.kubectl(['get', name])
  }
  const wide = await shop.kubectl(['get', 'bep', '--output=wide'])
  assert.match(
    wide,
    /TARGET +MODE +ACCEPTED +PROGRAMMED +REASON +AGE\ncolumns +web +Enforce +(True|False) .*(Accepted|TargetNotFound)/,
  )
})

test('a spec with something wrong in its status changes nothing of the spec, and the other way round', async () => {
  await shop.apply(policy('TelemetryPolicy', 'sub', { accessLog: 'Json' }))
  const before = await shop.get('telpol', 'sub')
  const patch = JSON.stringify({ spec: { accessLog: 'Off' }, status: { conditions: [] } })
  await shop.kubectl(['patch', 'telpol/sub', '--subresource=status', '--type=merge', '--patch', patch])
  const { spec, metadata } = await shop.get('telpol', 'sub')
  assert.equal(spec.accessLog, 'Json')
  assert.equal(metadata.generation, before.metadata.generation)
})

test('defaults are filled in where zod fills them in, and nowhere else', async () => {
  const spec = { targetRefs: [{ kind: 'Service', name: 'web' }], circuitBreaker: [{}], retry: {}, retryConstraint: {} }
  await shop.apply(policy('BackendPolicy', 'defaults', spec))
  const stored = await shop.get('bep', 'defaults')
  const parsed = kinds.BackendPolicy.schema.parse({
    ...policy('BackendPolicy', 'defaults', spec),
  })
  assert.deepEqual(stored.spec, parsed.spec)
})

describe('good policies are admitted', () => {
  for (const [at, [kind, name, spec]] of goodPolicies.entries()) {
    test(`${kind}: ${name}`, async () => {
      const { status, stderr } = await apply(policy(kind, `good-${at}`, spec), '--dry-run=server')
      assert.equal(status, 0, stderr)
    })
  }

  test('every document of ours under examples', async () => {
    const files = readdirSync(`${root}/examples`, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.yaml'),
    )
    let count = 0
    for (const file of files) {
      const documents = parseDocuments(readFileSync(`${root}/examples/${file}`, 'utf8')).filter(
        ({ apiVersion }) => apiVersion === 'outrigger.dev/v1alpha1',
      )
      for (const document of documents) {
        const moved = { ...document, metadata: { ...document.metadata, namespace: shop.name } }
        const { status, stderr } = await apply(moved, '--dry-run=server')
        assert.equal(status, 0, `${file}: ${stderr}`)
        count++
      }
    }
    assert.ok(count >= 10, `only ${count} documents were found`)
  })
})

describe('broken policies are refused', () => {
  for (const [kind, spec, ...faults] of brokenPolicies) {
    test(`${kind} ${faults[0]!.slice(0, 100)}`, async () => {
      const { status, stderr } = await apply(policy(kind, 'broken', spec), '--dry-run=server')
      assert.notEqual(status, 0, 'it was admitted')
      assert.ok(
        pathsOf(faults).some((path) => stderr.includes(path)),
        `none of ${pathsOf(faults).join(', ')} in: ${stderr}`,
      )
    })
  }
})

/**
 * Paths of problems, as the API server writes them. A rule of CEL stands on the object that has the fields, and cannot name
 * one element of a list: what is around the field, up to two steps, will do.
 */
function pathsOf(faults: readonly string[]): string[] {
  return faults.flatMap((fault) => {
    const path = /^[^:[]*(?:\[\d+\][^:[]*)*/.exec(fault)![0]
    const steps = path.match(/^spec|\.[^.[]+|\[\d+\]/g) ?? []
    return [0, 1, 2]
      .map((up) => steps.slice(0, steps.length - up))
      .filter((kept) => kept.length > Math.min(1, steps.length - 1))
      .map((kept) => kept.join(''))
  })
}
