/** Flags and environment of `outrigger proxy run` as one typed value. All problems are reported at once. */
import { parseArgs } from 'node:util'
import { type AppProbe, readAppProbes } from './api/app-probe.ts'
import { threadsMax } from './base/shared-table.ts'

/** host and port to listen on or to dial. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Listen at `at`, hand to the application at `app`. */
export interface InboundMapping {
  readonly at: HostPort
  readonly app: HostPort
}

/** Listen at `at`, relay to the Service that `service` names (`name[.ns]:port`). */
export interface UpstreamMapping {
  readonly at: HostPort
  readonly service: string
}

export interface ProxyOptions {
  readonly namespace: string
  readonly workload: string
  /** host:port of the control plane's stream. */
  readonly controlPlane: string
  /** PEM file of the root that the control plane is checked against. */
  readonly trustBundleFile: string
  readonly tokenFd: number | undefined
  readonly tokenFile: string | undefined
  readonly stateDir: string | undefined
  readonly capture: 'explicit' | 'redirect'
  readonly outbound: readonly HostPort[]
  readonly inbound: readonly InboundMapping[]
  /** redirect: where captured inbound connections arrive. */
  readonly inboundCapture: readonly HostPort[]
  readonly upstreams: readonly UpstreamMapping[]
  readonly admin: HostPort
  readonly metrics: HostPort
  readonly health: HostPort
  /** OTLP/HTTP traces URL, used without OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly traces: string | undefined
  readonly accessLog: 'off' | 'text' | 'json' | undefined
  /** Threads that take traffic; 1: it runs in the process's own. */
  readonly workers: number
  readonly drainTimeoutMs: number
  readonly detectTimeoutMs: number
  /** By path on the metrics port. */
  readonly appProbes: Readonly<Record<string, AppProbe>>
  readonly logLevel: string
}

interface Flag {
  readonly env: string
  readonly help: string
  readonly multiple?: boolean
  readonly default?: string
}

/** Every flag, its environment variable and its meaning; `--help` and src/README.md show this table. */
export const proxyFlags = {
  workload: { env: 'OUTRIGGER_WORKLOAD', help: 'NAMESPACE/NAME of the Pod this sidecar belongs to' },
  'control-plane': {
    env: 'OUTRIGGER_CONTROL_PLANE',
    help: 'HOST:PORT of the control plane',
    default: '127.0.0.1:15012',
  },
  'trust-bundle': {
    env: 'OUTRIGGER_TRUST_BUNDLE',
    help: 'PEM file of the root that the control plane is checked against',
  },
  'token-fd': { env: 'OUTRIGGER_TOKEN_FD', help: 'file descriptor with the join token' },
  'token-file': { env: 'OUTRIGGER_TOKEN_FILE', help: 'file with the join token' },
  'state-dir': { env: 'OUTRIGGER_STATE_DIR', help: 'folder for key, certificate and last good policy' },
  capture: { env: 'OUTRIGGER_CAPTURE', help: 'explicit | redirect', default: 'explicit' },
  address: { env: 'OUTRIGGER_ADDRESS', help: 'default host of the listeners below', default: '127.0.0.1' },
  outbound: { env: 'OUTRIGGER_OUTBOUND', help: 'HOST:PORT for outbound traffic (repeatable)', multiple: true },
  inbound: { env: 'OUTRIGGER_INBOUND', help: 'explicit: LISTEN_HOST:PORT=APP_HOST:PORT (repeatable)', multiple: true },
  'inbound-capture': {
    env: 'OUTRIGGER_INBOUND_CAPTURE',
    help: 'redirect: HOST:PORT for captured inbound traffic',
    multiple: true,
  },
  upstream: {
    env: 'OUTRIGGER_UPSTREAM',
    help: 'explicit: LISTEN_HOST:PORT=SERVICE:PORT, a local port for one Service',
    multiple: true,
  },
  admin: { env: 'OUTRIGGER_ADMIN', help: 'HOST:PORT of the admin API (default ADDRESS:15000)' },
  metrics: { env: 'OUTRIGGER_METRICS', help: 'HOST:PORT of /metrics (default ADDRESS:15020)' },
  health: { env: 'OUTRIGGER_HEALTH', help: 'HOST:PORT of /healthz (default ADDRESS:15021)' },
  traces: { env: 'OUTRIGGER_TRACES', help: 'OTLP/HTTP traces URL used without OTEL_EXPORTER_OTLP_ENDPOINT' },
  'access-log': { env: 'OUTRIGGER_ACCESS_LOG', help: 'off | text | json, where no TelemetryPolicy says; default off' },
  workers: { env: 'OUTRIGGER_WORKERS', help: 'threads that share the ports and take traffic, 1 to 32', default: '1' },
  'drain-timeout': { env: 'OUTRIGGER_DRAIN_TIMEOUT', help: 'longest wait for open work on SIGTERM', default: '30s' },
  'detect-timeout': {
    env: 'OUTRIGGER_DETECT_TIMEOUT',
    help: 'longest wait for first bytes on undeclared ports',
    default: '200ms',
  },
  'app-probes': {
    env: 'OUTRIGGER_APP_PROBES',
    help: "JSON by path of the application's probes, which the metrics port answers; injection writes it",
  },
  'log-level': { env: 'OUTRIGGER_LOG_LEVEL', help: 'debug | info | warn | error', default: 'info' },
} as const satisfies Record<string, Flag>

type FlagName = keyof typeof proxyFlags

export class OptionsError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/** Reads flags, then the environment for what no flag says. Throws OptionsError with every problem. */
export function parseProxyOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): ProxyOptions {
  const problems: string[] = []
  const config = Object.fromEntries(
    Object.entries<Flag>(proxyFlags).map(([name, flag]) => [
      name,
      { type: 'string' as const, multiple: flag.multiple === true },
    ]),
  )
  let values: Record<string, unknown> = {}
  try {
    values = parseArgs({ args: [...argv], options: config, allowPositionals: false }).values
  } catch (error) {
    throw new OptionsError([error instanceof Error ? error.message : String(error)])
  }
  const one = (name: FlagName): string | undefined => {
    const flag: Flag = proxyFlags[name]
    // An empty variable is an unset one: templates leave such behind.
    const value = [values[name], env[flag.env]].find((given) => typeof given === 'string' && given !== '')
    return typeof value === 'string' ? value : flag.default
  }
  const many = (name: FlagName): string[] => {
    const value = values[name]
    if (Array.isArray(value)) return value as string[]
    return (env[proxyFlags[name].env] ?? '').split(',').filter((part) => part !== '')
  }
  const say = (name: FlagName, what: string): void => {
    problems.push(`--${name} (${proxyFlags[name].env}): ${what}`)
  }
  const hostPort = (name: FlagName, text: string): HostPort => {
    const parsed = parseHostPort(text)
    if (parsed === undefined) say(name, `expected HOST:PORT, got '${text}'`)
    return parsed ?? { host: '', port: 0 }
  }
  const listen = (name: FlagName, port: number): HostPort => {
    const text = one(name)
    return text === undefined ? { host: address, port } : hostPort(name, text)
  }
  const pick = <T extends string>(name: FlagName, choices: readonly T[]): T | undefined => {
    const text = one(name)
    if (text === undefined || choices.includes(text as T)) return text as T | undefined
    say(name, `expected ${choices.join(' | ')}, got '${text}'`)
    return undefined
  }
  const duration = (name: FlagName): number => {
    const ms = parseDuration(one(name) ?? '')
    if (ms === undefined) say(name, `expected a duration such as 30s or 250ms, got '${one(name)}'`)
    return ms ?? 0
  }
  const wholeNumber = (name: FlagName, min: number, max: number): number => {
    const text = one(name) ?? ''
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (number >= min && number <= max) return number
    say(name, `expected a whole number from ${min} to ${max}, got '${text}'`)
    return min
  }
  const pair = (name: FlagName, text: string): [string, string] => {
    const at = text.indexOf('=')
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
    say(name, `expected LISTEN=TARGET, got '${text}'`)
    return ['127.0.0.1:0', '127.0.0.1:1']
  }

  const address = one('address') ?? '127.0.0.1'
  const workload = one('workload')
  const [namespace = '', name = ''] = (workload ?? '').split('/')
  if (workload === undefined) say('workload', 'required')
  else if (namespace === '' || name === '' || workload.split('/').length !== 2)
    say('workload', `expected NAMESPACE/NAME, got '${workload}'`)
  const trustBundleFile = one('trust-bundle')
  if (trustBundleFile === undefined) say('trust-bundle', 'required: the control plane writes it to its state folder')
  const tokenFd = one('token-fd')
  if (tokenFd !== undefined && !/^\d+$/.test(tokenFd)) say('token-fd', `expected a number, got '${tokenFd}'`)
  const capture = pick('capture', ['explicit', 'redirect']) ?? 'explicit'
  const outbound = many('outbound').map((text) => hostPort('outbound', text))
  const inboundCapture = many('inbound-capture').map((text) => hostPort('inbound-capture', text))
  if (capture === 'redirect') {
    if (outbound.length === 0) outbound.push({ host: '0.0.0.0', port: 15001 }, { host: '::', port: 15001 })
    if (inboundCapture.length === 0) inboundCapture.push({ host: '0.0.0.0', port: 15006 }, { host: '::', port: 15006 })
  } else if (outbound.length === 0) {
    outbound.push({ host: address, port: 15001 })
  }
  const controlPlane = one('control-plane') ?? ''
  hostPort('control-plane', controlPlane)
  const options: ProxyOptions = {
    namespace,
    workload: name,
    controlPlane,
    trustBundleFile: trustBundleFile ?? '',
    tokenFd: tokenFd === undefined ? undefined : Number(tokenFd),
    tokenFile: one('token-file'),
    stateDir: one('state-dir'),
    capture,
    outbound,
    inbound: many('inbound').map((text) => {
      const [at, app] = pair('inbound', text)
      return { at: hostPort('inbound', at), app: hostPort('inbound', app) }
    }),
    inboundCapture,
    upstreams: many('upstream').map((text) => {
      const [at, service] = pair('upstream', text)
      if (!/^[A-Za-z0-9.-]+:\d{1,5}$/.test(service))
        say('upstream', `expected SERVICE:PORT after '=', got '${service}'`)
      return { at: hostPort('upstream', at), service }
    }),
    admin: listen('admin', 15000),
    metrics: listen('metrics', 15020),
    health: listen('health', 15021),
    traces: one('traces'),
    workers: wholeNumber('workers', 1, threadsMax),
    accessLog: pick('access-log', ['off', 'text', 'json']),
    drainTimeoutMs: duration('drain-timeout'),
    detectTimeoutMs: duration('detect-timeout'),
    logLevel: pick('log-level', ['debug', 'info', 'warn', 'error']) ?? 'info',
    appProbes: readAppProbes(one('app-probes') ?? '{}', (problem) => say('app-probes', problem)),
  }
  if (problems.length > 0) throw new OptionsError(problems)
  return options
}

/** `127.0.0.1:80`, `[::1]:80`, `name:80`; undefined if it is none of these. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const port = Number(match[3])
  return port > 65_535 ? undefined : { host: (match[1] ?? match[2])!, port }
}

/** Go-like durations of one or several units (GEP-2257), in milliseconds. */
export function parseDuration(text: string): number | undefined {
  if (!/^([0-9]{1,5}(h|m|s|ms)){1,4}$/.test(text)) return undefined
  let ms = 0
  for (const [, value, unit] of text.matchAll(/([0-9]+)(ms|h|m|s)/g)) {
    ms += Number(value) * { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 }[unit as 'h']!
  }
  return ms
}
