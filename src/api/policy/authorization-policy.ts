import { z } from 'zod'
import { admitted, atLeastOne, notBoth } from './admission.ts'
import { policyMode, selector, targetRefs } from './attachment.ts'
import { countSet, crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { ipBlock, port, token } from './fields.ts'
import { quote } from './quote.ts'

/** Most values of one list of a rule. */
export const authorizationValuesMax = 256

// An empty list would hold for everyone. That is never what is meant, so it must be left out instead.
const list = <T extends z.ZodType>(item: T) => z.array(item).min(1).max(authorizationValuesMax).optional()

/**
 * Text with at most one "*", at its end or its beginning. The pattern says the same as both checks: it is what the API
 * server checks, for CEL would cost too much in lists of lists.
 */
function wildcard(what: string, pattern: string, isWell: (text: string) => boolean) {
  return z
    .string()
    .min(1)
    .max(1024)
    .refine(
      (text) =>
        !text.slice(1, -1).includes('*') &&
        text !== '**' &&
        !(text.length > 1 && text.startsWith('*') && text.endsWith('*')),
      {
        error: (issue) => `${quote(issue.input)}: "*" stands at the end or at the beginning, once`,
        abort: true,
      },
    )
    .refine(isWell, { error: (issue) => `${quote(issue.input)} is not ${what}` })
    .meta({ pattern })
}

const principal = () =>
  wildcard(
    'a SPIFFE id such as spiffe://cluster.local/ns/shop/sa/web, "*" allowed at the end or the beginning',
    String.raw`^(\*[^*]*|s(p(i(f(f(e(:(/(/)?)?)?)?)?)?)?)?\*?|spiffe://[a-z0-9._-]+[^*]*\*?)$`,
    (text) =>
      text.startsWith('*') || 'spiffe://'.startsWith(text.replace(/\*$/, '')) || /^spiffe:\/\/[a-z0-9._-]+/.test(text),
  )
const namespace = () =>
  wildcard('a namespace', String.raw`^(\*[a-z0-9-]*|[a-z0-9-]+\*?)$`, (text) => /^[a-z0-9*-]+$/.test(text))
const path = () =>
  wildcard(
    'a path: it begins with "/", or with "*"',
    String.raw`^(\*[^*]*|/[^*]*\*?)$`,
    (text) => text.startsWith('/') || text.startsWith('*'),
  )
const host = () =>
  wildcard('a host, with or without port', String.raw`^(\*[A-Za-z0-9.:\[\]-]*|[A-Za-z0-9.:\[\]-]+\*?)$`, (text) =>
    /^[A-Za-z0-9.*:[\]-]+$/.test(text),
  )
const method = () =>
  z
    .string()
    .min(1)
    .max(64)
    .refine((text) => token.test(text) && !/[a-z*]/.test(text), {
      error: (issue) => `${quote(issue.input)} is not a method: upper case, such as GET (methods are case-sensitive)`,
    })
    .meta({ pattern: String.raw`^[A-Z0-9!#$%&'+\-.^_\x60|~]+$` })

const sourceFields = ['principals', 'notPrincipals', 'namespaces', 'notNamespaces', 'ipBlocks', 'notIpBlocks'] as const

const emptyFrom = 'an empty entry of from would match every caller; leave out from to mean that'

const source = admitted(
  z
    .strictObject({
      principals: list(principal()).describe('SPIFFE ids of the peer; "*" for any run at the end or the beginning.'),
      notPrincipals: list(principal()).describe('SPIFFE ids that the peer must not have.'),
      namespaces: list(namespace()).describe("Namespaces of the peer's identity."),
      notNamespaces: list(namespace()).describe('Namespaces that the peer must not be in.'),
      ipBlocks: list(ipBlock()).describe("Addresses or CIDR blocks of the peer's address."),
      notIpBlocks: list(ipBlock()).describe("Addresses or CIDR blocks that the peer's address must not be in."),
    })
    .refine((value) => countSet(value, sourceFields) > 0, { error: emptyFrom }),
  atLeastOne(sourceFields, emptyFrom),
)

const operationFields = [
  'methods',
  'notMethods',
  'paths',
  'notPaths',
  'ports',
  'notPorts',
  'hosts',
  'notHosts',
] as const

const emptyTo = 'an empty entry of to would match every request; leave out to to mean that'

const operation = admitted(
  z
    .strictObject({
      methods: list(method()).describe('Methods.'),
      notMethods: list(method()).describe('Methods that it must not be.'),
      paths: list(path()).describe(
        'Paths without query: exact, "prefix*" or "*suffix". DENY holds for any spelling, in any case; ALLOW to the letter.',
      ),
      notPaths: list(path()).describe('Paths that it must not be.'),
      ports: list(port()).describe('Ports of the workload.'),
      notPorts: list(port()).describe('Ports of the workload that it must not be.'),
      hosts: list(host()).describe('Values of Host: exact, "prefix*" or "*suffix", without case.'),
      notHosts: list(host()).describe('Values of Host that it must not be.'),
    })
    .refine((value) => countSet(value, operationFields) > 0, { error: emptyTo }),
  atLeastOne(operationFields, emptyTo),
)

const rule = z.strictObject({
  from: z.array(source).min(1).max(64).optional().describe('Who calls: any one must hold. Default: anyone.'),
  to: z.array(operation).min(1).max(64).optional().describe('What is asked for: any one must hold. Default: anything.'),
})

const twoAttachments = 'set targetRefs or selector, not both'

const spec = admitted(
  z
    .strictObject({
      mode: policyMode(),
      targetRefs: targetRefs('Service').optional().describe('Holds for the workloads behind these Services.'),
      selector: selector().optional().describe('Holds for the workloads with these labels.'),
      action: z
        .enum(['ALLOW', 'DENY'])
        .default('ALLOW')
        .describe(
          'DENY policies are looked at first. Where any ALLOW policy holds, what none of them allows is refused.',
        ),
      rules: z
        .array(rule)
        .max(64)
        .default([])
        .describe('Any one must hold. None: ALLOW allows nothing, DENY denies nothing. One empty rule {}: everything.'),
    })
    .check(
      crossField<{ targetRefs?: unknown; selector?: unknown }>(['targetRefs', 'selector'], (value, report) => {
        if (countSet(value, ['targetRefs', 'selector']) > 1) report(twoAttachments, ['selector'])
      }),
    ),
  notBoth('targetRefs', 'selector', twoAttachments),
).describe('Who may call what. Without targetRefs and selector it holds for every workload of its namespace.')

/** Who may call what, decided at the callee. */
export const authorizationPolicy = strictDocument(
  'outrigger.dev/v1alpha1',
  'AuthorizationPolicy',
  spec,
  'Who may call what: decided at the callee by workload identity, namespace, address, method, path, port and host.',
)

/** Who may call what, decided at the callee. */
export type AuthorizationPolicy = z.infer<typeof authorizationPolicy>
