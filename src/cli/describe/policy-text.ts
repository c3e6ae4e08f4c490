/** Policies in words. */
import type { DocumentOf } from '../../api/documents/document.ts'

type Authorization = DocumentOf<'AuthorizationPolicy'>
type AuthorizationRule = Authorization['value']['spec']['rules'][number]

/** `KIND NS/NAME`, with the mode where nothing is enforced. */
export function named(document: {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly value: unknown
}): string {
  const { mode } = (document.value as { spec?: { mode?: string } }).spec ?? {}
  return `${document.kind} ${document.namespace}/${document.name}${mode === 'Shadow' ? ' (Shadow: counted, not enforced)' : ''}`
}

/** Who may call, in the order in which it is decided. */
export function authorizationLines(policies: readonly Authorization[]): string[] {
  if (policies.length === 0) return ['no AuthorizationPolicy: everyone may call']
  const deny = policies.filter(({ value }) => value.spec.action === 'DENY')
  const allow = policies.filter(({ value }) => value.spec.action === 'ALLOW')
  const enforced = allow.some(({ value }) => value.spec.mode === 'Enforce')
  return [
    ...deny.flatMap((policy) => policyLines('refused', policy)),
    ...allow.flatMap((policy) => policyLines('allowed', policy)),
    ...(enforced ? ['everything else is refused'] : ['everything else is allowed']),
  ]
}

function policyLines(verb: string, policy: Authorization): string[] {
  const { rules } = policy.value.spec
  if (rules.length === 0) return [`${verb}: nothing (no rules)  [${named(policy)}]`]
  return rules.map((rule) => `${verb}: ${authorizationRule(rule)}  [${named(policy)}]`)
}

function authorizationRule({ from, to }: AuthorizationRule): string {
  const who = from === undefined ? 'anyone' : from.map(fields).join(' or ')
  const what = to === undefined ? 'anything' : to.map(fields).join(' or ')
  return `${who}, ${what}`
}

function fields(value: Readonly<Record<string, unknown>>): string {
  return Object.entries(value)
    .filter(([, list]) => list !== undefined)
    .map(([name, list]) => `${words[name] ?? name} ${(list as readonly unknown[]).join('|')}`)
    .join(' and ')
}

const words: Readonly<Record<string, string>> = {
  principals: 'from',
  notPrincipals: 'not from',
  namespaces: 'from namespace',
  notNamespaces: 'not from namespace',
  ipBlocks: 'from address',
  notIpBlocks: 'not from address',
  methods: 'method',
  notMethods: 'not method',
  paths: 'path',
  notPaths: 'not path',
  ports: 'port',
  notPorts: 'not port',
  hosts: 'host',
  notHosts: 'not host',
}

/** What a BackendPolicy sets, a line each; what it does not set has its default. */
export function backendPolicyLines(policy: DocumentOf<'BackendPolicy'> | undefined): string[] {
  if (policy === undefined)
    return [
      'no BackendPolicy: least-request balancing, no breaker, no ejection, timeouts and retries only where a route asks',
    ]
  const { loadBalancer, connectionPool, circuitBreaker, outlierDetection, timeouts, retry, retryConstraint } =
    policy.value.spec
  const lines = [`by ${named(policy)}`]
  lines.push(`balancing   ${loadBalancer?.algorithm ?? 'LeastRequest'}${hashText(loadBalancer?.hash)}`)
  if (connectionPool !== undefined) lines.push(`pool        ${pairs(connectionPool)}`)
  for (const one of circuitBreaker ?? [])
    lines.push(
      `breaker     per ${one.scope}: rejects from ${one.errorThresholdPercentage} % failures on, of at least ${one.volumeThreshold} requests in ${one.rollingWindow}; tries again after ${one.resetTimeout}`,
    )
  if (outlierDetection !== undefined)
    lines.push(
      `ejection    after ${outlierDetection.consecutive5xxErrors} failures in a row, for ${outlierDetection.baseEjectionTime}, at most ${outlierDetection.maxEjectionPercent} % of the endpoints`,
    )
  if (timeouts !== undefined) lines.push(`times       ${pairs(timeouts)}`)
  if (retry !== undefined) lines.push(`retry       ${pairs(retry)}`)
  if (retryConstraint !== undefined) lines.push(`budget      ${pairs(retryConstraint)}`)
  return lines
}

/** Which requests fail, and how. */
export function faultLine(fault: DocumentOf<'FaultInjection'>, wallMs: number): string {
  const { delay, abort, expiresAt, match } = fault.value.spec
  const parts = [
    delay === undefined
      ? ''
      : `delay ${delay.percentage} %: ${delay.fixed ?? `${delay.range?.min} to ${delay.range?.max}`}`,
    abort === undefined ? '' : `abort ${abort.percentage} %: ${abortText(abort)}`,
    match === undefined ? '' : `${match.length} matches`,
    expiresAt === undefined ? '' : Date.parse(expiresAt) <= wallMs ? 'expired' : `until ${expiresAt}`,
  ]
  return `${parts.filter((part) => part !== '').join(', ')}  [${named(fault)}]`
}

/** `503`, `gRPC UNAVAILABLE`, `503 (gRPC UNAVAILABLE)`, `reset` */
function abortText({ httpStatus, grpcStatus }: { httpStatus?: number | undefined; grpcStatus?: string | undefined }) {
  if (grpcStatus === undefined) return String(httpStatus ?? 'reset')
  return httpStatus === undefined ? `gRPC ${grpcStatus}` : `${httpStatus} (gRPC ${grpcStatus})`
}

function hashText(hash: object | undefined): string {
  return hash === undefined ? '' : ` by ${pairs(hash)}`
}

/** `a 1, b 2 3, c.d 4` */
function pairs(value: object, prefix = ''): string {
  return Object.entries(value)
    .filter(([, one]) => one !== undefined)
    .map(([name, one]: [string, unknown]) => {
      if (Array.isArray(one)) return `${prefix}${name} ${one.join(' ')}`
      if (typeof one === 'object' && one !== null) return pairs(one, `${prefix}${name}.`)
      return `${prefix}${name} ${String(one)}`
    })
    .join(', ')
}
