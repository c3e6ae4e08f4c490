import { z } from 'zod'
import { namespaceName, objectName, stringMap } from './fields.ts'

const kept = (what: string) => z.unknown().optional().describe(what)

const metadataShape = {
  name: objectName().describe('Name, unique for its kind and namespace.'),
  namespace: namespaceName().optional().describe('Namespace. Default: default.').meta({ default: 'default' }),
  labels: stringMap().optional().describe('Labels: what selectors match.'),
  annotations: stringMap().optional().describe('Annotations: notes for programs and people.'),
  generation: z.int().min(0).optional().describe('Version of the spec; set by the API server.'),
  creationTimestamp: z
    .string()
    .nullish()
    .describe('RFC 3339 time; set by the API server. The oldest of two equal routes wins.'),
  uid: kept('Set by the API server.'),
  resourceVersion: kept('Set by the API server.'),
  selfLink: kept('Set by the API server.'),
  generateName: kept('Used by the API server only.'),
  deletionTimestamp: kept('Set by the API server.'),
  deletionGracePeriodSeconds: kept('Set by the API server.'),
  finalizers: kept('Used by the API server only.'),
  ownerReferences: kept('Used by the API server only.'),
  managedFields: kept('Set by the API server.'),
}

const status = kept('Written by the control plane, ignored when read.')

/** Schema of a document whose unknown fields are errors: every kind but the core ones. */
export function strictDocument<A extends string, K extends string, S extends z.ZodType>(
  apiVersion: A,
  kind: K,
  spec: S,
  description: string,
) {
  return z
    .strictObject({
      apiVersion: z.literal(apiVersion).describe(`Always ${apiVersion}.`),
      kind: z.literal(kind).describe(`Always ${kind}.`),
      metadata: z.strictObject(metadataShape).describe('Name, namespace, labels.'),
      spec,
      status,
    })
    .describe(description)
}

/** Schema of a core kind: unknown fields load (they are warnings), so `kubectl get -o yaml` output does too. */
export function looseDocument<A extends string, K extends string, S extends z.ZodRawShape>(
  apiVersion: A,
  kind: K,
  shape: S,
  description: string,
) {
  return z
    .looseObject({
      apiVersion: z.literal(apiVersion).describe(`Always ${apiVersion}.`),
      kind: z.literal(kind).describe(`Always ${kind}.`),
      metadata: z.looseObject(metadataShape).describe('Name, namespace, labels.'),
      ...shape,
    })
    .describe(description)
}

/** Fields of a core kind that Kubernetes knows and the mesh does not read: no warning for them. */
export function unread<K extends string>(...names: K[]): Record<K, z.ZodOptional<z.ZodUnknown>> {
  const shape = {} as Record<K, z.ZodOptional<z.ZodUnknown>>
  for (const name of names) shape[name] = kept('Known to Kubernetes, not read by the mesh.')
  return shape
}
