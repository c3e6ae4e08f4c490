import { z } from 'zod'
import { strictDocument } from './document.ts'
import { namespaceName, objectName } from './fields.ts'
import { objectType } from './route-filter.ts'

const from = z.strictObject({
  group: objectType.group.describe('API group of what refers: gateway.networking.k8s.io for a route.'),
  kind: objectType.kind.describe('Kind of what refers: HTTPRoute.'),
  namespace: namespaceName().describe('Namespace of what refers.'),
})

const to = z.strictObject({
  group: objectType.group.describe('API group of what is referred to: "" for a Service.'),
  kind: objectType.kind.describe('Kind of what is referred to: Service.'),
  name: objectName().optional().describe('Its name. Default: all of the kind in this namespace.'),
})

/** Gateway API ReferenceGrant: routes of other namespaces may send to Services of this one. */
export const referenceGrant = strictDocument(
  'gateway.networking.k8s.io/v1beta1',
  'ReferenceGrant',
  z
    .strictObject({
      from: z.array(from).min(1).max(16).describe('Who may refer; any one of them.'),
      to: z.array(to).min(1).max(16).describe('To what; any one of them.'),
    })
    .describe('What is permitted.'),
  'Lets routes of other namespaces send to Services of its own namespace.',
)

/** Gateway API ReferenceGrant: routes of other namespaces may send to Services of this one. */
export type ReferenceGrant = z.infer<typeof referenceGrant>
