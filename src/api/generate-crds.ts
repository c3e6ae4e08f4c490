// Makes charts/outrigger-crds/templates: one CustomResourceDefinition for each kind of ours. `npm run generate`; a test
// tells when it was forgotten.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { z } from 'zod'
import { type Kind, type KindTraits, kindNames, kinds } from './policy/kinds.ts'
import { statusSchema } from './policy/status-schema.ts'
import { type StructuralSchema, structuralSchema } from './policy/structural-schema.ts'

/** Where the definitions lie: a folder of a Helm chart. */
export const crdFolder = fileURLToPath(new URL('../../charts/outrigger-crds/templates', import.meta.url))

const group = 'outrigger.dev'
const version = 'v1alpha1'

/** The kinds that we define ourselves. */
export const ownKinds: readonly Kind[] = kindNames.filter((kind) => kinds[kind].apiVersion === `${group}/${version}`)

/** Name and text of every file of the chart's templates. */
export function crdFiles(): Map<string, string> {
  return new Map(ownKinds.map((kind) => [`${kinds[kind].plural}.yaml`, text(definition(kind))]))
}

/** The CustomResourceDefinition of a kind. */
export function definition(kind: Kind) {
  const { plural, shortNames, scope, schema }: KindTraits = kinds[kind]
  const { spec } = (schema as z.ZodObject<{ spec: z.ZodType }>).shape
  const specSchema = structuralSchema(spec)
  const fields = specSchema['properties'] as StructuralSchema
  const hasTargets = 'targetRefs' in fields
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      labels: {
        'app.kubernetes.io/part-of': 'outrigger',
        // GEP-713: how tools find policies.
        'gateway.networking.k8s.io/policy': hasTargets ? 'Direct' : 'Inherited',
      },
      // Uninstalling the chart must not take everyone's policies with it.
      annotations: { 'helm.sh/resource-policy': 'keep' },
    },
    spec: {
      group,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [...shortNames],
        categories: ['outrigger'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns(fields),
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description: schema.description,
              required: ['spec'],
              properties: {
                apiVersion: { type: 'string', description: `Always ${group}/${version}.` },
                kind: { type: 'string', description: `Always ${kind}.` },
                metadata: { type: 'object' },
                spec: specSchema,
                status: statusSchema(hasTargets),
              },
            },
          },
        },
      ],
    },
  }
}

function columns(fields: StructuralSchema): object[] {
  const accepted = '.status.conditions[?(@.type=="Accepted")]'
  const wide = { type: 'string', priority: 1 }
  return [
    ...('targetRefs' in fields ? [{ name: 'Target', type: 'string', jsonPath: '.spec.targetRefs[0].name' }] : []),
    ...('selector' in fields ? [{ name: 'Selector', type: 'string', jsonPath: '.spec.selector.matchLabels' }] : []),
    { name: 'Mode', ...wide, jsonPath: '.spec.mode' },
    { name: 'Accepted', type: 'string', jsonPath: `${accepted}.status` },
    { name: 'Programmed', type: 'string', jsonPath: '.status.conditions[?(@.type=="Programmed")].status' },
    { name: 'Reason', ...wide, jsonPath: `${accepted}.reason` },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ]
}

function text(definitionOf: object): string {
  // YAML 1.1 is what kubectl reads: there a bare Off is a boolean.
  const yaml = stringify(definitionOf, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false })
  return `# Made of src/api/policy by npm run generate; not to be edited.\n${yaml}`
}

if (import.meta.main) {
  const files = crdFiles()
  mkdirSync(crdFolder, { recursive: true })
  for (const name of readdirSync(crdFolder)) if (!files.has(name)) rmSync(`${crdFolder}/${name}`)
  for (const [name, content] of files) writeFileSync(`${crdFolder}/${name}`, content)
}
