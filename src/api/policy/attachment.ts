// How a policy names what it holds for: GEP-713 targetRefs, label selectors, and the mode of each policy.
import { z } from 'zod'
import { admitted, type CelRule } from './admission.ts'
import { crossField } from './cross-field.ts'
import { objectName, stringMap } from './fields.ts'

/** Most targets of one policy (GEP-713's CRDs have the same). */
export const targetRefsMax = 16

/** Group of each kind that can be a target. */
export const targetGroups = {
  Service: '',
  HTTPRoute: 'gateway.networking.k8s.io',
  GRPCRoute: 'gateway.networking.k8s.io',
} as const

/** A kind that a policy can target. */
export type TargetKind = keyof typeof targetGroups

/** Shadow evaluates, counts and traces, and changes nothing. */
export function policyMode() {
  return z
    .enum(['Enforce', 'Shadow'])
    .default('Enforce')
    .describe('Enforce: in force. Shadow: evaluated, counted and traced, changes nothing.')
}

/** References to targets in the policy's own namespace. `sectionName` is a rule of a route. */
export function targetRefs<K extends TargetKind>(...kinds: [K, ...K[]]) {
  const routes = kinds.some((kind) => kind !== 'Service')
  const ref = z
    .strictObject({
      group: z
        .string()
        .max(253)
        .optional()
        .describe('API group of the kind. Default: the group that the kind has ("" for Service).'),
      kind: z.enum(kinds).describe('Kind of the target.'),
      name: objectName().describe("Name of the target, in the policy's own namespace."),
      sectionName: z
        .string()
        .min(1)
        .max(253)
        .optional()
        .describe(routes ? 'rules[].name of the route. Default: all rules.' : 'Not used for Service.'),
    })
    .check(
      crossField<{ group?: string | undefined; kind: K; sectionName?: string | undefined }>(
        ['group', 'kind', 'sectionName'],
        (value, report) => {
          const group: string = targetGroups[value.kind]
          if (value.group !== undefined && value.group !== group) {
            report(`${value.kind} is in group "${group}", not "${value.group}"`, ['group'])
          }
          if (value.sectionName !== undefined && value.kind === 'Service') {
            report('sectionName is for targets that are routes; a Service is targeted whole', ['sectionName'])
          }
        },
      ),
    )
  return z
    .array(admitted(ref, ...targetRules))
    .min(1)
    .max(targetRefsMax)
}

const groupInCel = `(self.kind == 'Service' ? '' : '${targetGroups.HTTPRoute}')`

const targetRules: readonly CelRule[] = [
  {
    rule: `!has(self.group) || self.group == ${groupInCel}`,
    message: 'the kind is not in this group',
    messageExpression: `self.kind + ' is in group "' + ${groupInCel} + '", not "' + self.group + '"'`,
    fieldPath: '.group',
  },
  {
    rule: "!has(self.sectionName) || self.kind != 'Service'",
    message: 'sectionName is for targets that are routes; a Service is targeted whole',
    fieldPath: '.sectionName',
  },
]

const emptyLabels = 'matchLabels is empty; leave out selector to mean every workload of the namespace'

/** Selects workloads (Pods) of the policy's own namespace by their labels. */
export function selector() {
  return z.strictObject({
    matchLabels: admitted(
      stringMap().refine((labels) => Object.keys(labels).length > 0, { error: emptyLabels }),
      { rule: 'self.size() > 0', message: emptyLabels },
    ).describe('Labels that a Pod must all have.'),
  })
}
