/** One sidecar's own view, as tables for people. */
import type { JsonValue } from '@bufbuild/protobuf'
import type { Stats } from '../admin/stats.ts'
import type { ServiceSnapshot } from '../balance/backends.ts'
import type { PolicyStatus } from '../control/policy-store.ts'
import { visible } from '../telemetry/printable.ts'
import { age } from './age.ts'
import { backendText, enumWord, limits, matchText, type Ref, type Rule, refText } from './rule-text.ts'
import { paint, renderTable } from './table.ts'

/** What the three paths of the sidecar's admin port say. */
export interface SidecarView {
  readonly config: Omit<PolicyStatus, 'resources'> & {
    readonly workload: string
    readonly resources: readonly { readonly name: string; readonly version: string; readonly content?: JsonValue }[]
  }
  readonly stats: Stats
  readonly backends: { readonly services: readonly ServiceSnapshot[] }
}

/** The parts of a resource that are shown, in protobuf's JSON. */
interface Content {
  readonly service?: { readonly rules?: readonly Rule[]; readonly policy?: { readonly ref?: Ref } }
  readonly workload?: {
    readonly serviceAccount?: string
    readonly mtls?: string
    readonly mtlsRef?: Ref
    readonly authorizations?: readonly { readonly ref?: Ref; readonly action?: string }[]
  }
}

/** `wallMs`: unix milliseconds, for the end of the certificate. */
export function proxyText(view: SidecarView, wallMs: number): string {
  const parts = [
    summary(view, wallMs),
    section('Inbound', inbound(view)),
    section('Services that it calls', services(view)),
    section('Routes, in the order in which they stand', routes(view)),
    section('Endpoints', endpoints(view)),
    section('In force', resources(view)),
    section(paint('red', 'Refused (an older version, or none, is in force)'), rejected(view)),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

function summary({ config, stats }: SidecarView, wallMs: number): string {
  const { connected, revision } = stats.controlPlane
  const certificate =
    stats.certificate === null
      ? paint('red', 'none yet')
      : `${stats.certificate.spiffeId}, ${age(stats.certificate.expiresAtMs - wallMs)} left`
  const source = { stream: 'from the control plane', disk: 'from disk', none: 'none yet' }[config.source]
  return [
    `workload       ${stats.workload}, up for ${age(stats.uptimeMs)}`,
    `ready          ${stats.ready ? 'yes' : paint('red', `no: ${stats.readyReason}`)}`,
    `control plane  ${connected ? 'connected' : paint('yellow', 'not connected: the last policy stays in force')}, revision ${revision}`,
    `policy         ${source}, hash ${config.effectiveHash}`,
    `certificate    ${certificate}`,
  ].join('\n')
}

function inbound({ config }: SidecarView): string {
  const own = config.resources.map(({ content }) => contentOf(content).workload).find((one) => one !== undefined)
  if (own === undefined) return ''
  const mtls = enumWord(own.mtls, 'MTLS_MODE_') || 'PERMISSIVE'
  const rules = (own.authorizations ?? []).map(
    ({ ref, action }) => `  ${enumWord(action, 'ACTION_') || 'ALLOW'} by ${refText(ref)}`,
  )
  return [
    `  mTLS ${mtls}${own.mtlsRef === undefined ? ' (no PeerAuthentication: the default)' : ` by ${refText(own.mtlsRef)}`}`,
    ...(rules.length === 0 ? ['  no AuthorizationPolicy: everyone may call'] : rules),
  ].join('\n')
}

function services({ config, stats, backends }: SidecarView): string {
  const traffic = new Map(stats.upstreams.map((one) => [one.service, one]))
  const names = new Set([
    ...backends.services.map(({ service }) => service),
    ...config.resources.flatMap(({ name }) => (name.startsWith('service/') ? [name.slice('service/'.length)] : [])),
  ])
  if (names.size === 0) return ''
  return renderTable(
    [
      { title: 'SERVICE' },
      { title: 'ENDPOINTS', align: 'right' },
      { title: 'BREAKER' },
      { title: 'REQUESTS', align: 'right' },
      { title: 'FAILURES', align: 'right' },
      { title: 'RETRIES', align: 'right' },
      { title: 'IN FLIGHT', align: 'right' },
      { title: 'BACKENDPOLICY' },
    ],
    [...names].sort().map((name) => {
      const known = backends.services.find(({ service }) => service === name)
      const one = traffic.get(name)
      const policy = contentOf(config.resources.find((resource) => resource.name === `service/${name}`)?.content)
      return [
        name,
        String(one?.endpoints ?? endpointCount(known)),
        breaker(known?.breaker),
        String(one?.requests ?? 0),
        one === undefined || one.failures === 0 ? '0' : paint('red', String(one.failures)),
        String(one?.retries ?? 0),
        String(one?.inFlight ?? 0),
        policy.service?.policy?.ref === undefined ? '-' : refText(policy.service.policy.ref, false),
      ]
    }),
  )
}

function endpointCount(service: ServiceSnapshot | undefined): number {
  return new Set(service?.backends.flatMap(({ endpoints: list }) => list.map(({ endpoint }) => endpoint))).size
}

function routes({ config }: SidecarView): string {
  const rows = config.resources.flatMap(({ name, content }) => {
    const rules = contentOf(content).service?.rules ?? []
    return rules.map((rule) => [
      name.slice('service/'.length),
      rule.port === undefined || rule.port === 0 ? 'all' : String(rule.port),
      rule.ref === undefined ? 'default' : `${refText(rule.ref)} rule ${rule.name ?? ''}`,
      matchText(rule),
      backendText(rule),
      limits(rule),
    ])
  })
  if (rows.length === 0) return ''
  return renderTable(
    [
      { title: 'SERVICE' },
      { title: 'PORT', align: 'right' },
      { title: 'ROUTE' },
      { title: 'MATCH', widthMax: 60 },
      { title: 'TO', widthMax: 70 },
      { title: 'LIMITS' },
    ],
    rows,
  )
}

function endpoints({ backends }: SidecarView): string {
  const rows = backends.services.flatMap(({ service, backends: ports }) =>
    ports.flatMap(({ port, endpoints: list }) =>
      list.map((one) => [
        service,
        String(port),
        one.endpoint,
        one.workload,
        one.ejectedUntil > 0 ? paint('red', 'ejected') : one.ready ? 'ready' : paint('yellow', 'not ready'),
        breaker(one.breaker),
        `${one.latencyMs.toFixed(1)} ms`,
        String(one.inFlight),
      ]),
    ),
  )
  if (rows.length === 0) return ''
  return renderTable(
    [
      { title: 'SERVICE' },
      { title: 'PORT', align: 'right' },
      { title: 'ENDPOINT' },
      { title: 'WORKLOAD' },
      { title: 'HEALTH' },
      { title: 'BREAKER' },
      { title: 'LATENCY', align: 'right' },
      { title: 'IN FLIGHT', align: 'right' },
    ],
    rows,
  )
}

function breaker(snapshot: ServiceSnapshot['breaker']): string {
  if (snapshot === undefined) return '-'
  const word = snapshot.state === 'open' ? paint('red', 'open (rejecting)') : snapshot.state
  return snapshot.shadow ? `${word}, shadow` : word
}

function resources({ config }: SidecarView): string {
  return renderTable(
    [{ title: 'RESOURCE' }, { title: 'VERSION' }],
    config.resources.map(({ name, version }) => [name, version]),
  )
}

function rejected({ config }: SidecarView): string {
  return config.rejected
    .map(({ resource, version, reason }) => `  ${resource}@${version}: ${visible(reason, 500)}`)
    .join('\n')
}

function section(title: string, body: string): string {
  return body === '' ? '' : `${title}\n${body}`
}

function contentOf(content: JsonValue | undefined): Content {
  return (content ?? {}) as Content
}
