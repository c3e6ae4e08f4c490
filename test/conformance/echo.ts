/** The application of the conformance suite (Istio's echo): its documents, and calls from inside it. */
import { grpcStatusNames } from '../../src/base/grpc.ts'
import { CommandError } from '../cluster/command.ts'
import type { Namespace } from '../cluster/namespace.ts'

/** As the suite's own manifests name it. */
const image = 'registry.k8s.io/gateway-api/echo-advanced:v1.5.1'

/** Versions of the application; `echo` is the Service of both. */
export const versions = ['v1', 'v2'] as const

const ports = [
  { name: 'http', port: 80, appProtocol: 'http', targetPort: 8080 },
  { name: 'http-alt', port: 8080, appProtocol: 'http' },
  { name: 'grpc', port: 7070, appProtocol: 'kubernetes.io/h2c' },
]

/** Deployments echo-v1 and echo-v2, Services echo-v1, echo-v2 and echo. */
export function echoDocuments(): object[] {
  return [
    ...versions.flatMap((version) => [deployment(version), service(`echo-${version}`, { app: 'echo', version })]),
    service('echo', { app: 'echo' }),
  ]
}

function deployment(version: string): object {
  const labels = { app: 'echo', version }
  const container = {
    name: 'echo',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['--port=8080', '--grpc=7070'],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: `echo-${version}` },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers: [container] } },
    },
  }
}

function service(name: string, selector: object): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector, ports } }
}

/** Requests of one kind, from one pod. */
export interface Call {
  /** `http://echo/path`; `grpc://echo:7070` calls the application's only method, `proto.EchoTestService/Echo`. */
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly count?: number
  /** One connection for all of them; else each has its own, so that nothing but a mesh sends them all alike. */
  readonly keepAlive?: boolean
}

/** One answer, and the request as the application saw it; of a request that did not get there the latter is empty. */
export interface Answer {
  /** Of a gRPC call that failed its status, such as 12. */
  readonly status: number
  /** By name in lower case; of several fields of one name the values joined by commas. */
  readonly headers: Readonly<Record<string, string>>
  /** `echo-v1-7d4b9c-x2x4z`; '' when no application answered. */
  readonly pod: string
  /** Path and query, as the application saw them. */
  readonly target: string
  readonly host: string
  readonly requestHeaders: Readonly<Record<string, string>>
}

const countDefault = 100

/** Makes the calls from a pod of echo-v1, all in one exec. Throws when one of them got no answer at all. */
export async function callFrom(namespace: Namespace, { url, headers = {}, count, keepAlive }: Call): Promise<Answer[]> {
  const wanted = count ?? countDefault
  const isGrpc = url.startsWith('grpc:')
  const output = await namespace
    .exec(
      'deployment/echo-v1',
      [
        'client',
        url,
        ...(isGrpc ? [] : ['--method=GET']),
        `--count=${wanted}`,
        // Of all of them together: the client's own 5 s are few for a thousand on a busy machine.
        '--timeout=60s',
        ...(keepAlive === true ? [] : ['--new-connection-per-request']),
        ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}:${value}`]),
      ],
      { container: 'echo' },
    )
    .catch((error: unknown) => {
      const refusal =
        isGrpc && error instanceof CommandError ? refusalIn(error.result.stdout + error.result.stderr) : undefined
      // The client makes all calls, and then says of one that failed why it did.
      if (refusal === undefined || wanted !== 1) throw error
      return `[0] StatusCode=${refusal}`
    })
  const answers = parseAnswers(output)
  if (answers.length !== wanted) throw new Error(`${answers.length} answers to ${wanted} requests:\n${output}`)
  return answers
}

/** `rpc error: code = Unimplemented desc = ...`, in grpc-go's words. */
function refusalIn(output: string): number | undefined {
  const word = /rpc error: code = (\w+)/.exec(output)?.[1]?.toUpperCase()
  const at = grpcStatusNames.findIndex((name) => name.replaceAll('_', '') === word)
  return at === -1 ? undefined : at
}

/** Lines such as `[7] StatusCode=200` and `[7 body] Hostname=echo-v1-...`. */
export function parseAnswers(output: string): Answer[] {
  const fields = new Map<number, Fields>()
  for (const line of output.split('\n')) {
    const match = /^\[(\d+)( body)?\] (\w+)=(.*)$/.exec(line)
    if (match === null) continue
    const [, at, body, name, value] = match
    let known = fields.get(Number(at))
    if (known === undefined) fields.set(Number(at), (known = { single: new Map(), requestHeaders: {}, headers: {} }))
    if (name === 'RequestHeader' && body !== undefined) add(known.requestHeaders, value!)
    else if (name === 'ResponseHeader' && body === undefined) add(known.headers, value!)
    else known.single.set(name!, value!)
  }
  return [...fields.values()].map(({ single, requestHeaders, headers }) => ({
    status: Number(single.get('StatusCode') ?? 0),
    headers,
    pod: single.get('Hostname') ?? '',
    target: single.get('URL') ?? '',
    host: single.get('Host') ?? '',
    requestHeaders,
  }))
}

interface Fields {
  readonly single: Map<string, string>
  readonly requestHeaders: Record<string, string>
  readonly headers: Record<string, string>
}

function add(headers: Record<string, string>, field: string): void {
  const colon = field.indexOf(':')
  const name = field.slice(0, colon).toLowerCase()
  const value = field.slice(colon + 1)
  headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`
}
