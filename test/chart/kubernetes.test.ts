/** Whether Helm and Kubernetes accept what the charts make. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse } from 'yaml'
import { attempt, type Result, run } from '../cluster/command.ts'
import { program } from '../cluster/state.ts'
import { chart, crdsChart, type Manifest, render, scenarios, valuesOf } from './render.ts'
import { schemasFolder } from './requirements.ts'

let crdSchemas = ''
before(() => {
  crdSchemas = mkdtempSync(path.join(tmpdir(), 'outrigger-crd-schemas-'))
  writeCrdSchemas(path.join(schemasFolder, 'crds'), crdSchemas)
})
after(() => rmSync(crdSchemas, { recursive: true, force: true }))

describe('helm lint --strict', () => {
  for (const scenario of scenarios) {
    it(`finds nothing in ${scenario.name}`, async () => {
      await run(program('helm'), ['lint', '--strict', chart, ...valuesOf(scenario)])
    })
  }

  it('finds nothing in the chart of the CRDs', async () => {
    await run(program('helm'), ['lint', '--strict', crdsChart])
  })
})

describe('kubeconform', () => {
  // All at once: it reads the schemas anew each time, which takes longest.
  for (const version of ['v1.30.0', 'v1.37.0']) {
    it(`accepts every scenario and the CRDs for Kubernetes ${version}`, async () => {
      const texts = await Promise.all(scenarios.map(render))
      const { status, stdout, stderr } = await conform(version, [
        ...texts,
        await run(program('helm'), ['template', 'crds', crdsChart]),
      ])
      assert.equal(status, 0, stdout + stderr)
    })

    it(`would tell a field that is not there, a wrong type and an unknown kind, for ${version}`, async () => {
      const text = await render({ name: 'default' })
      const faults = [
        ['maxSurge: 1', 'maxSurges: 1', /Deployment outrigger is invalid.*maxSurges/],
        [
          'timeoutSeconds: 10',
          'timeoutSeconds: ten',
          /MutatingWebhookConfiguration outrigger-injector is invalid.*timeoutSeconds/,
        ],
        ['kind: ServiceAccount\n', 'kind: ServiceAccounts\n', /could not find schema for ServiceAccounts/],
      ] as const
      for (const [from] of faults) assert.ok(text.includes(from), from)
      const { status, stdout } = await conform(version, [
        faults.reduce((all, [from, to]) => all.replace(from, to), text),
      ])
      assert.notEqual(status, 0)
      for (const [, , word] of faults) assert.match(stdout, word)
    })
  }

  it('checks what belongs to other projects against their CRDs', async () => {
    const text = await render(scenarios.find(({ name }) => name === 'prometheus-operator')!)
    const { status, stdout } = await conform('v1.37.0', [text.replace('podMetricsEndpoints:', 'podMetricEndpoints:')])
    assert.notEqual(status, 0)
    assert.match(stdout, /podMetricEndpoints|podMetricsEndpoints/)
  })
})

/** Nothing is skipped: a kind without a schema is an error. */
function conform(version: string, texts: readonly string[]): Promise<Result> {
  const args = [
    '-strict',
    '-summary',
    '-schema-location',
    `${schemasFolder}/${version}/{{.ResourceKind}}{{.KindSuffix}}.json`,
    '-schema-location',
    `${crdSchemas}/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json`,
    '-',
  ]
  return attempt(program('kubeconform'), args, { stdin: texts.join('\n---\n') })
}

/** GROUP/KIND_VERSION.json of every version of every CRD in a folder. */
function writeCrdSchemas(from: string, to: string): void {
  for (const file of readdirSync(from)) {
    const { spec } = parse(readFileSync(path.join(from, file), 'utf8')) as Manifest
    mkdirSync(path.join(to, spec.group), { recursive: true })
    for (const { name, schema } of spec.versions) {
      const kind = (spec.names.kind as string).toLowerCase()
      writeFileSync(path.join(to, spec.group, `${kind}_${name}.json`), JSON.stringify(strict(schema.openAPIV3Schema)))
    }
  }
}

/** As the API server reads it with fieldValidation=Strict: a field that the schema does not name is an error. */
function strict(node: Manifest, isRoot = true): Manifest {
  if (Array.isArray(node)) return node.map((it) => strict(it, false))
  if (typeof node !== 'object' || node === null) return node
  const { format: _, ...rest } = node
  const fields = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, strict(value, false)]))
  const closed = !isRoot && 'properties' in node && typeof node.properties === 'object' && 'type' in node
  return closed && node.additionalProperties === undefined && node['x-kubernetes-preserve-unknown-fields'] !== true
    ? { ...fields, additionalProperties: false }
    : fields
}
