/** What injection tells a sidecar of its application's probes, as JSON in OUTRIGGER_APP_PROBES: by path. */
export type AppProbe = HttpProbe | TcpProbe | GrpcProbe

export interface HttpProbe {
  readonly kind: 'http'
  readonly port: number
  readonly path: string
  /** https, whose certificate nobody checks, as the kubelet does not. */
  readonly tls: boolean
  readonly headers: readonly (readonly [string, string])[]
  readonly timeoutMs: number
}

export interface TcpProbe {
  readonly kind: 'tcp'
  readonly port: number
  readonly timeoutMs: number
}

/** grpc.health.v1.Health/Check. */
export interface GrpcProbe {
  readonly kind: 'grpc'
  readonly port: number
  readonly service: string
  readonly timeoutMs: number
}

/** `/app-health/CONTAINER/livez`; the kubelet is given the path by injection. */
const pathPattern = /^\/app-health\/[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\/(?:livez|readyz|startupz)$/
const namePattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/
/** Of a request target in origin form; the kubelet would write any other character as %XX. */
const targetPattern = /^\/[\x21-\x7e]*$/

const fields: Readonly<Record<AppProbe['kind'], readonly string[]>> = {
  http: ['kind', 'port', 'path', 'tls', 'headers', 'timeoutMs'],
  tcp: ['kind', 'port', 'timeoutMs'],
  grpc: ['kind', 'port', 'service', 'timeoutMs'],
}

/**
 * Reads what injection wrote. Every problem is given to `say` with its place; the result is whole only without any. By
 * hand, because a schema library would cost every sidecar more memory than its policy.
 */
export function readAppProbes(text: string, say: (problem: string) => void): Readonly<Record<string, AppProbe>> {
  let read: unknown
  try {
    read = JSON.parse(text)
  } catch (error) {
    say(`expected JSON, as injection writes it: ${error instanceof Error ? error.message : String(error)}`)
    return {}
  }
  if (!isRecord(read)) {
    say('expected a JSON object of probes by path')
    return {}
  }
  for (const [path, probe] of Object.entries(read)) {
    if (!pathPattern.test(path)) {
      say(`'${path.slice(0, 80)}' is no path of a probe: expected /app-health/CONTAINER/livez, readyz or startupz`)
    }
    for (const problem of problemsOf(probe)) say(`${path.slice(0, 80)}: ${problem}`)
  }
  return read as Readonly<Record<string, AppProbe>>
}

function* problemsOf(probe: unknown): Iterable<string> {
  if (!isRecord(probe)) return yield 'expected an object'
  const known = fields[probe['kind'] as AppProbe['kind']] as readonly string[] | undefined
  if (known === undefined) return yield `kind: expected http, tcp or grpc, got ${shown(probe['kind'])}`
  const unknown = Object.keys(probe).find((field) => !known.includes(field))
  if (unknown !== undefined) yield `${unknown}: not known for a probe of kind ${String(probe['kind'])}`
  if (!isWhole(probe['port'], 1, 65_535)) yield `port: expected 1 to 65535, got ${shown(probe['port'])}`
  if (!isWhole(probe['timeoutMs'], 1, 86_400_000)) {
    yield `timeoutMs: expected milliseconds from 1 to one day, got ${shown(probe['timeoutMs'])}`
  }
  if (probe['kind'] === 'grpc' && typeof probe['service'] !== 'string') {
    yield `service: expected a text, '' for the whole server, got ${shown(probe['service'])}`
  }
  if (probe['kind'] !== 'http') return
  if (typeof probe['path'] !== 'string' || !targetPattern.test(probe['path'])) {
    yield `path: expected a path such as /healthz, got ${shown(probe['path'])}`
  }
  if (typeof probe['tls'] !== 'boolean') yield `tls: expected true or false, got ${shown(probe['tls'])}`
  const { headers } = probe
  if (!Array.isArray(headers)) return yield `headers: expected a list of [name, value], got ${shown(headers)}`
  for (const [at, header] of (headers as unknown[]).entries()) {
    if (!isHeader(header)) yield `headers[${at}]: expected [name, value] of a header of HTTP, got ${shown(header)}`
  }
}

function isHeader(header: unknown): boolean {
  if (!Array.isArray(header) || header.length !== 2) return false
  const [name, value] = header as unknown[]
  return typeof name === 'string' && namePattern.test(name) && typeof value === 'string' && valuePattern.test(value)
}

function isWhole(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80)
}
