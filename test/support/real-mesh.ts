/** A mesh of real processes: control plane, a client and two servers, each with its sidecar, on addresses of their own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import type { ControlPlaneStatus } from '../../control-plane/admin/status.ts'
import { Tokens } from '../../control-plane/identity/token.ts'
import { systemClock } from '../../src/base/clock.ts'
import { RealProcess } from './real-process.ts'
import { eventually } from './shop.ts'

export type RealWorkload = 'client' | 'server-a' | 'server-b'

/** What of the mesh is not as usual. */
export interface RealMeshOptions {
  /** Flags for the Node of one sidecar. */
  readonly nodeFlags?: Partial<Record<RealWorkload, string>>
  /** What the servers' applications speak, and the name of their port; default `http`. */
  readonly speaks?: 'http' | 'grpc'
  /** More flags of one sidecar. */
  readonly flags?: Partial<Record<RealWorkload, Readonly<Record<string, string>>>>
  /** What `npm run build` made, in place of the sources. */
  readonly built?: string
}

const workloads: readonly RealWorkload[] = ['client', 'server-a', 'server-b']
const namespace = 'test'
/** Ports on the address of each workload, and of the control plane. */
const ports = {
  stream: 15_012,
  status: 15_014,
  admin: 15_000,
  outbound: 15_001,
  metrics: 15_020,
  health: 15_021,
  service: 8_080,
  app: 18_080,
} as const

/**
 * Eight addresses of 127.222.0.0 to 127.253.255.255 that no other process has, for as long as process ids stay below
 * 262,144 apart; tests that run beside this one use other second octets.
 */
function ownAddress(at: number): string {
  const number = (process.pid * 8 + at) % 2 ** 21
  return `127.${222 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`
}

export class RealMesh implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'outrigger-outage-'))
  readonly policies = join(this.folder, 'documents', 'policies.yaml')
  readonly controlPlane: RealProcess
  readonly sidecars: ReadonlyMap<RealWorkload, RealProcess>
  readonly #apps: readonly RealProcess[]
  readonly #stateDir = join(this.folder, 'control-plane')

  readonly #options: RealMeshOptions

  private constructor(policies: string, options: RealMeshOptions) {
    this.#options = options
    mkdirSync(join(this.folder, 'documents'))
    writeFileSync(join(this.folder, 'documents', 'workloads.yaml'), this.#workloadDocuments())
    writeFileSync(this.policies, policies)
    this.controlPlane = new RealProcess({
      name: 'control plane',
      program: 'src/cli/outrigger',
      ...(options.built !== undefined && { root: options.built }),
      args: flags('control-plane run', {
        file: join(this.folder, 'documents'),
        'state-dir': this.#stateDir,
        host: ownAddress(0),
        'outbound-policy': 'REGISTRY_ONLY',
      }),
    })
    this.sidecars = new Map(workloads.map((name) => [name, this.#sidecar(name)]))
    this.#apps = workloads.filter((name) => name !== 'client').map((name) => this.#app(name))
  }

  /** Starts it all; resolves when every sidecar is ready. */
  static async start(policies: string, options: RealMeshOptions = {}): Promise<RealMesh> {
    const mesh = new RealMesh(policies, options)
    try {
      for (const app of mesh.#apps) app.start()
      mesh.controlPlane.start()
      await mesh.controlPlaneReady()
      for (const name of workloads) {
        await mesh.renewToken(name)
        mesh.sidecars.get(name)!.start()
      }
      for (const name of workloads) await mesh.ready(name)
      return mesh
    } catch (error) {
      const said = [mesh.controlPlane, ...mesh.sidecars.values()].map(({ spec, said: text }) => `${spec.name}: ${text}`)
      await mesh[Symbol.asyncDispose]()
      throw new Error(`the mesh did not start\n${said.join('\n')}`, { cause: error })
    }
  }

  address(name: RealWorkload): string {
    return ownAddress(workloads.indexOf(name) + 1)
  }

  sidecar(name: RealWorkload): RealProcess {
    return this.sidecars.get(name)!
  }

  /** Where the client's application calls. */
  get outbound(): { readonly host: string; readonly port: number } {
    return { host: this.address('client'), port: ports.outbound }
  }

  /** Text of `/metrics` of a sidecar. */
  async metrics(name: RealWorkload): Promise<string> {
    return (await ask(`http://${this.address(name)}:${ports.metrics}/metrics`))?.text ?? ''
  }

  /** Tells a sidecar that its Pod is about to end, as the preStop hook does. */
  async retire(name: RealWorkload): Promise<void> {
    await ask(`http://${this.address(name)}:${ports.admin}/retire`, 'POST')
  }

  /** Writes the endpoints anew: those that are ending are not ready. Resolves when the client's sidecar knows. */
  async setEnding(...ending: RealWorkload[]): Promise<void> {
    writeFileSync(join(this.folder, 'documents', 'workloads.yaml'), this.#workloadDocuments(ending))
    await eventually('the client hears of it', async () => {
      const said = await ask(`http://${this.address('client')}:${ports.admin}/backends`)
      if (said === undefined) return false
      const { services } = JSON.parse(said.text) as BackendsAnswer
      const endpoints = services.flatMap(({ backends }) => backends.flatMap((backend) => backend.endpoints))
      return (
        endpoints.length > 0 &&
        endpoints.every(
          ({ endpoint, ready }) => ready !== ending.some((name) => endpoint.startsWith(`${this.address(name)}:`)),
        )
      )
    })
  }

  /** From now on whoever starts has only what lies on disk. */
  removeTokens(): void {
    for (const name of workloads) rmSync(this.#tokenFile(name), { force: true })
  }

  /** Makes a join token, as `outrigger token` does. */
  async renewToken(name: RealWorkload): Promise<void> {
    const tokens = await Tokens.read(this.#stateDir, systemClock)
    const token = await tokens.make({ namespace, serviceAccount: name }, 'cluster.local')
    writeFileSync(this.#tokenFile(name), token, { mode: 0o600 })
  }

  /** State folder of a sidecar. */
  stateDir(name: RealWorkload): string {
    return join(this.folder, name)
  }

  async controlPlaneReady(): Promise<void> {
    await eventually(
      'the control plane is ready',
      async () => {
        this.controlPlane.checkAlive()
        return (await ask(`http://${ownAddress(0)}:${ports.status}/healthz`))?.status === 200
      },
      60_000,
    )
  }

  async status(): Promise<ControlPlaneStatus | undefined> {
    const answer = await ask(`http://${ownAddress(0)}:${ports.status}/status`)
    return answer === undefined ? undefined : (JSON.parse(answer.text) as ControlPlaneStatus)
  }

  /** Resolves when the control plane says of every sidecar that it has what it should have. */
  async inSync(timeoutMs: number): Promise<void> {
    await eventually(
      'every sidecar is in sync',
      async () => {
        const status = await this.status()
        return workloads.every((name) =>
          status?.sidecars.some((it) => it.workload === `${namespace}/${name}` && it.connected && it.inSync),
        )
      },
      timeoutMs,
    )
  }

  /** What the sidecar's readiness says; undefined while nothing answers. */
  readiness(name: RealWorkload): Promise<{ status: number; text: string } | undefined> {
    return ask(`http://${this.address(name)}:${ports.health}/healthz/ready`)
  }

  async ready(name: RealWorkload): Promise<void> {
    await eventually(
      `${name} is ready`,
      async () => {
        this.sidecar(name).checkAlive()
        return (await this.readiness(name))?.status === 200
      },
      60_000,
    )
  }

  /** Requests that an application had so far, asked for beside the mesh. */
  async seen(name: RealWorkload): Promise<number> {
    return Number((await ask(`http://${this.address(name)}:${ports.app}/seen`))?.text)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.controlPlane, ...this.sidecars.values(), ...this.#apps].map((it) => it.end('SIGKILL')))
    rmSync(this.folder, { recursive: true, force: true })
  }

  #workloadDocuments(ending: readonly RealWorkload[] = []): string {
    return workloadDocuments(this.#options.speaks ?? 'http', ending)
  }

  #tokenFile(name: RealWorkload): string {
    return join(this.folder, `${name}.token`)
  }

  #sidecar(name: RealWorkload): RealProcess {
    const address = this.address(name)
    const args = flags('proxy run', {
      workload: `${namespace}/${name}`,
      address,
      'control-plane': `${ownAddress(0)}:${ports.stream}`,
      'trust-bundle': join(this.#stateDir, 'root.pem'),
      'token-file': this.#tokenFile(name),
      'state-dir': this.stateDir(name),
      ...this.#options.flags?.[name],
    })
    if (name !== 'client') args.push('--inbound', `${address}:${ports.service}=${address}:${ports.app}`)
    const flagsOfNode = this.#options.nodeFlags?.[name]
    return new RealProcess({
      name: `sidecar of ${name}`,
      program: 'src/cli/outrigger',
      ...(this.#options.built !== undefined && { root: this.#options.built }),
      args,
      ...(flagsOfNode !== undefined && { env: { OUTRIGGER_NODE_FLAGS: flagsOfNode } }),
    })
  }

  #app(name: RealWorkload): RealProcess {
    return new RealProcess({
      name: `application of ${name}`,
      program: 'src/cli/outrigger-node',
      args: [join(import.meta.dirname, this.#options.speaks === 'grpc' ? 'grpc-app.ts' : 'counting-app.ts')],
      env: { HOST: this.address(name), PORT: String(ports.app), NAME: name },
    })
  }
}

interface BackendsAnswer {
  readonly services: readonly {
    readonly backends: readonly { readonly endpoints: readonly { endpoint: string; ready: boolean }[] }[]
  }[]
}

function workloadDocuments(portName: string, ending: readonly RealWorkload[]): string {
  const pods = workloads.map(
    (name) => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name}, outrigger.dev/inject: "true" } }
spec: { serviceAccountName: ${name} }
`,
  )
  const endpoints = [1, 2].map((at) => {
    const name = workloads[at]!
    const conditions = ending.includes(name) ? '{ ready: false, serving: true, terminating: true }' : '{ ready: true }'
    return `  - { addresses: [${ownAddress(at + 1)}], targetRef: { kind: Pod, name: ${name} }, conditions: ${conditions} }`
  })
  return [
    `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${namespace} }\n`,
    ...pods,
    `apiVersion: v1
kind: Service
metadata: { name: server, namespace: ${namespace} }
spec: { ports: [{ name: ${portName}, port: ${ports.service} }] }
`,
    `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: server, namespace: ${namespace}, labels: { kubernetes.io/service-name: server } }
addressType: IPv4
ports: [{ name: ${portName}, port: ${ports.service} }]
endpoints:
${endpoints.join('\n')}
`,
  ].join('---\n')
}

function flags(command: string, values: Readonly<Record<string, string>>): string[] {
  return [...command.split(' '), ...Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])]
}

async function ask(url: string, method: 'GET' | 'POST' = 'GET'): Promise<{ status: number; text: string } | undefined> {
  try {
    // No connection outlives its answer: the process at the other end may be killed at any time.
    const { statusCode, body } = await request(url, { method, reset: true, headersTimeout: 2_000, bodyTimeout: 2_000 })
    return { status: statusCode, text: await body.text() }
  } catch {
    return undefined
  }
}
