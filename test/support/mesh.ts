/** A whole mesh in this process: control plane on files, one sidecar per workload, applications as plain servers. */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ControlPlane, type ControlPlaneOptions, runControlPlane } from '../../control-plane/main.ts'
import { silentLog } from '../../src/base/log.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { type HostPort, parseProxyOptions } from '../../src/options.ts'
import { type Sidecar, startSidecar } from '../../src/sidecar.ts'
import { eventually } from './control.ts'

export interface WorkloadSpec {
  readonly name: string
  /** Service that it belongs to; default its name. Several workloads may share one. */
  readonly service?: string
  readonly app?: http.RequestListener
  /** Instead of `app`: any TCP server. */
  readonly tcp?: (socket: net.Socket) => void
  /** Instead of both: the port of 127.0.0.1 on which the application runs already. */
  readonly runsAt?: number
  /** Port name of the Service, which declares the protocol; default `http`. */
  readonly portName?: string
  readonly version?: string
  /** More variables of its sidecar. */
  readonly env?: Readonly<Record<string, string>>
  /** False: no document says that it exists; see `addPod`. */
  readonly known?: boolean
}

/** `conditions` of an endpoint, by workload; default: ready. */
export type Conditions = Readonly<Record<string, { ready: boolean; serving?: boolean; terminating?: boolean }>>

export interface RunningWorkload {
  readonly name: string
  /** Loopback address of its own. */
  readonly address: string
  /** Explicit outbound listener. */
  outbound: { readonly host: string; readonly port: number }
  /** URL of the admin API. */
  admin: string
  /** URL of the metrics port. */
  metrics: string
  /** Requests (or connections) that the application saw. */
  seen: number
  /** What its sidecar has written to standard output: the access log. */
  log: string
  /** Stops the sidecar and starts it again on the same state folder. */
  restart(): Promise<void>
  stop(): Promise<void>
  running: Sidecar
}

export interface MeshSpec {
  readonly workloads: readonly WorkloadSpec[]
  /** More documents, as YAML. */
  readonly policies?: string
  readonly controlPlane?: Partial<ControlPlaneOptions>
  /** Where sidecars reach it, given its own port on 127.0.0.1, which is the default. */
  readonly controlPlaneAt?: (port: number) => string
}

const namespace = 'test'
const servicePort = 8080
/** More than the stream's debounce of 25 ms. */
const publishQuietMs = 60
let addressCount = 0

/** Loopback addresses that no other test process uses: 127.P.Q.x by process id. */
function nextAddress(): string {
  addressCount++
  return `127.${20 + (process.pid % 200)}.${(process.pid >> 8) % 250}.${1 + addressCount}`
}

export class Mesh implements AsyncDisposable {
  readonly folder: string
  readonly documents: string
  readonly workloads = new Map<string, RunningWorkload>()
  controlPlane: ControlPlane
  readonly #spec: MeshSpec
  readonly #addresses: readonly string[]
  readonly #options: ControlPlaneOptions
  readonly #controlPlaneAt: (port: number) => string
  readonly #servers: (http.Server | net.Server)[] = []
  readonly #apps = new Map<string, http.Server | net.Server>()
  readonly #states: StateFolder[] = []

  private constructor(
    folder: string,
    documents: string,
    controlPlane: ControlPlane,
    options: ControlPlaneOptions,
    spec: MeshSpec,
    addresses: readonly string[],
  ) {
    this.#spec = spec
    this.#addresses = addresses
    this.#controlPlaneAt = spec.controlPlaneAt ?? ((port) => `127.0.0.1:${port}`)
    this.folder = folder
    this.documents = documents
    this.controlPlane = controlPlane
    this.#options = options
  }

  static async start(spec: MeshSpec): Promise<Mesh> {
    const folder = mkdtempSync(join(tmpdir(), 'outrigger-mesh-'))
    const documents = join(folder, 'documents')
    mkdirSync(documents)
    const addresses = spec.workloads.map(() => nextAddress())
    writeFileSync(join(documents, 'workloads.yaml'), workloadDocuments(spec.workloads, addresses))
    if (spec.policies !== undefined) writeFileSync(join(documents, 'policies.yaml'), spec.policies)
    const options: ControlPlaneOptions = {
      folders: [documents],
      stateDir: join(folder, 'control-plane'),
      ports: { stream: 0, admin: 0 },
      outboundPolicy: 'REGISTRY_ONLY',
      ...spec.controlPlane,
    }
    const controlPlane = await runControlPlane(options)
    const mesh = new Mesh(folder, documents, controlPlane, options, spec, addresses)
    try {
      for (const [i, workload] of spec.workloads.entries()) await mesh.#startWorkload(workload, addresses[i]!)
      await mesh.ready()
    } catch (error) {
      await mesh[Symbol.asyncDispose]()
      throw error
    }
    return mesh
  }

  get(name: string): RunningWorkload {
    const workload = this.workloads.get(name)
    if (workload === undefined) throw new Error(`no workload ${name}`)
    return workload
  }

  /** Replaces the policies file; resolves when every sidecar is on the new revision. */
  async setPolicies(yaml: string): Promise<void> {
    await this.addDocument('policies.yaml', yaml)
  }

  /** Writes one more file of documents, or replaces one; `effective`: a change of policy is expected. */
  async addDocument(file: string, yaml: string, effective = true): Promise<void> {
    const before = this.controlPlane.cache.revision
    this.write(file, yaml)
    if (!effective) return
    await eventually(() => this.controlPlane.cache.revision > before, `the control plane reads ${file}`)
    await this.settled()
  }

  /** Writes one more file of documents and waits for nothing. */
  write(file: string, yaml: string): void {
    writeFileSync(join(this.documents, file), yaml)
  }

  /** Resolves when every sidecar has what the control plane has. */
  async settled(): Promise<void> {
    // A change is published after the stream's quiet time; only then does `inSync` speak of it.
    await new Promise((resolve) => setTimeout(resolve, publishQuietMs))
    await eventually(() => {
      const sidecars = this.controlPlane.stream.sidecars.list()
      return [...this.workloads.keys()].every((name) =>
        sidecars.some((s) => s.workload === `${namespace}/${name}` && s.connected && s.inSync),
      )
    }, 'all sidecars are in sync')
  }

  async ready(): Promise<void> {
    const known = this.#spec.workloads.filter((workload) => workload.known !== false)
    await eventually(() => known.every(({ name }) => this.get(name).running.ready().ready), 'all sidecars are ready')
  }

  /** Writes workloads and Services anew, with all Pods known and these conditions of their endpoints. */
  writeWorkloads(conditions: Conditions = {}): void {
    const workloads = this.#spec.workloads.map((workload) => ({ ...workload, known: true }))
    this.write('workloads.yaml', workloadDocuments(workloads, this.#addresses, conditions))
  }

  /** The application goes; its sidecar stays. */
  async stopApp(name: string): Promise<void> {
    const app = this.#apps.get(name)
    if (app instanceof http.Server) app.closeAllConnections()
    await new Promise<void>((resolve) => app?.close(() => resolve()))
  }

  async stopControlPlane(): Promise<void> {
    await this.controlPlane.stop()
  }

  async startControlPlane(): Promise<void> {
    const { stream, admin } = this.controlPlane.ports
    this.controlPlane = await runControlPlane({ ...this.#options, ports: { stream, admin } })
  }

  async #startWorkload(spec: WorkloadSpec, address: string): Promise<void> {
    const state = join(this.folder, spec.name)
    const appPort = servicePort + 10_000
    const appAt = spec.runsAt === undefined ? `${address}:${appPort}` : `127.0.0.1:${spec.runsAt}`
    const workload: RunningWorkload = {
      name: spec.name,
      address,
      seen: 0,
      log: '',
      running: undefined as unknown as Sidecar,
      outbound: { host: address, port: 0 },
      admin: '',
      metrics: '',
      restart: async () => {
        await workload.running.drain(1_000)
        await open()
      },
      stop: () => workload.running.drain(1_000),
    }
    if (spec.app !== undefined || spec.tcp !== undefined) {
      const app = spec.app
      const server =
        app !== undefined
          ? http.createServer((req, res) => {
              workload.seen++
              app(req, res)
            })
          : net.createServer({ allowHalfOpen: true }, (socket) => {
              workload.seen++
              spec.tcp!(socket)
            })
      server.listen(appPort, address)
      await once(server, 'listening')
      this.#servers.push(server)
      this.#apps.set(spec.name, server)
    }
    let held: StateFolder | undefined
    const open = async (): Promise<void> => {
      held?.close()
      const folder = StateFolder.open(state)
      held = folder
      this.#states.push(folder)
      const options = parseProxyOptions(
        [
          '--workload',
          `${namespace}/${spec.name}`,
          '--control-plane',
          this.#controlPlaneAt(this.controlPlane.ports.stream),
          '--trust-bundle',
          'unused',
          '--address',
          address,
          ...(isCalled(spec) ? ['--inbound', `${address}:${servicePort}=${appAt}`] : []),
          ...['--outbound', '--admin', '--metrics', '--health'].flatMap((flag) => [flag, `${address}:0`]),
        ],
        { OUTRIGGER_WORKERS: process.env['MESH_WORKERS'], ...spec.env },
      )
      const sidecar = await startSidecar({
        options,
        log: silentLog,
        setLogLevel: () => {},
        rootPem: this.controlPlane.trustBundlePem,
        token: () =>
          this.controlPlane.tokens.make({ namespace, serviceAccount: spec.name }, this.controlPlane.trustDomain),
        state: folder,
        stdout: {
          write: (bytes, done) => {
            workload.log += bytes.toString('latin1')
            done(null, bytes.length)
          },
        },
      })
      workload.running = sidecar
      workload.outbound = sidecar.addresses.get('outbound0')!
      workload.admin = url(sidecar.addresses.get('admin'))
      workload.metrics = url(sidecar.addresses.get('metrics'))
    }
    await open()
    this.workloads.set(spec.name, workload)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const workload of this.workloads.values()) await workload.running.drain(0)
    for (const server of this.#servers) {
      if (server instanceof http.Server) server.closeAllConnections()
      server.close()
    }
    for (const state of this.#states) state.close()
    await this.controlPlane.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function isCalled({ app, tcp, runsAt }: WorkloadSpec): boolean {
  return app !== undefined || tcp !== undefined || runsAt !== undefined
}

function url(at: HostPort | undefined): string {
  return at === undefined ? '' : `http://${at.host}:${at.port}`
}

function workloadDocuments(
  workloads: readonly WorkloadSpec[],
  addresses: readonly string[],
  conditions: Conditions = {},
): string {
  const services = new Map<string, { spec: WorkloadSpec; pods: { name: string; address: string }[] }>()
  const documents: string[] = [`apiVersion: v1\nkind: Namespace\nmetadata: { name: ${namespace} }\n`]
  for (const [i, spec] of workloads.entries()) {
    if (spec.known === false) continue
    const name = spec.service ?? spec.name
    documents.push(`apiVersion: v1
kind: Pod
metadata:
  name: ${spec.name}
  namespace: ${namespace}
  labels: { app: ${name}, workload: ${spec.name}, version: ${spec.version ?? 'v1'}, outrigger.dev/inject: "true" }
spec:
  serviceAccountName: ${spec.name}
`)
    if (!isCalled(spec)) continue
    const service = services.get(name) ?? { spec, pods: [] }
    service.pods.push({ name: spec.name, address: addresses[i]! })
    services.set(name, service)
  }
  for (const [name, { spec, pods }] of services) {
    const port = `{ name: ${spec.portName ?? 'http'}, port: ${servicePort} }`
    documents.push(`apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  ports: [${port}]
`)
    documents.push(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${name}
  namespace: ${namespace}
  labels: { kubernetes.io/service-name: ${name} }
addressType: IPv4
ports: [${port}]
endpoints:
${pods.map((pod) => endpoint(pod, conditions)).join('\n')}
`)
  }
  return documents.join('---\n')
}

function endpoint({ name, address }: { name: string; address: string }, conditions: Conditions): string {
  const said = JSON.stringify(conditions[name] ?? { ready: true })
  return `  - { addresses: [${address}], targetRef: { kind: Pod, name: ${name} }, conditions: ${said} }`
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** A request through a workload's explicit outbound listener, as an application with http_proxy sends it. */
export function call(
  from: RunningWorkload,
  url: string,
  options: { method?: string; headers?: http.OutgoingHttpHeaders; body?: string | Buffer; agent?: http.Agent } = {},
): Promise<Answer> {
  const target = new URL(url)
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        host: from.outbound.host,
        port: from.outbound.port,
        method: options.method ?? 'GET',
        path: url,
        headers: { host: target.host, ...options.headers },
        agent: options.agent ?? false,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        )
        response.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(options.body)
  })
}

/** The certificate that a workload's sidecar holds now. */
export function credentialsOf(workload: RunningWorkload): Credentials {
  const held = workload.running.credentials.current
  if (held === undefined) throw new Error(`${workload.name} has no certificate`)
  return held
}
