/** A real control plane and real sidecars on the machines of a `Mesh`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { controlPlaneUid, type Machine, type Mesh, proxyUid } from './mesh.ts'
import type { Process } from './process.ts'

export const namespace = 'shop'

export interface ServiceSpec {
  readonly name: string
  readonly on: Machine
  /** Addresses of the Service itself, any family. */
  readonly clusterIps: readonly string[]
  /** Port names declare the protocol (`http`), or not. */
  readonly ports: Readonly<Record<string, number>>
}

export interface ControlPlane {
  readonly process: Process
  readonly stateDir: string
  readonly documents: string
  /** host:port of the stream. */
  readonly address: string
  /** Writes a file of documents, new or anew. */
  write(file: string, yaml: string): void
}

/** Starts a control plane that knows these machines as workloads and these Services. */
export async function startControlPlane(
  net: Mesh,
  on: Machine,
  workloads: readonly Machine[],
  services: readonly ServiceSpec[],
  policies: string,
  flags: readonly string[] = [],
): Promise<ControlPlane> {
  const documents = join(net.folder, 'documents')
  mkdirSync(documents)
  const write = (file: string, yaml: string) => writeFileSync(join(documents, file), yaml)
  write('workloads.yaml', [...workloads.map(podOf), ...services.flatMap(serviceDocuments)].join('---\n'))
  write('policies.yaml', policies)
  const stateDir = net.privateFolder('control-plane', controlPlaneUid)
  const args = ['control-plane', 'run', '-f', documents, '--state-dir', stateDir, '--host', on.v4, ...flags]
  const process = on.outrigger(args, { uid: controlPlaneUid })
  await process.error(/control plane up/)
  return { process, stateDir, documents, address: `${on.v4}:15012`, write }
}

/** Captures the machine's traffic and starts its sidecar; resolves when that is ready. */
export async function startSidecar(
  net: Mesh,
  control: ControlPlane,
  controlMachine: Machine,
  on: Machine,
  env: Readonly<Record<string, string>> = {},
): Promise<Process> {
  on.capture('--apply')
  const token = await controlMachine
    .outrigger(['token', `${namespace}/${on.name}`, '--state-dir', control.stateDir], { uid: controlPlaneUid })
    .done()
  const { certificatePem } = await import('./certificates.ts').then(({ rootOf }) => rootOf(control.stateDir))
  const sidecar = on.outrigger(
    [
      'proxy',
      'run',
      '--workload',
      `${namespace}/${on.name}`,
      '--control-plane',
      control.address,
      '--trust-bundle',
      net.file(`${on.name}-root.pem`, certificatePem),
      '--token-file',
      net.file(`${on.name}-token`, token, proxyUid),
      '--state-dir',
      net.privateFolder(`${on.name}-state`, proxyUid),
      '--capture',
      'redirect',
      '--health',
      '[::]:15021',
      '--metrics',
      '[::]:15020',
      '--log-level',
      'debug',
    ],
    { uid: proxyUid, env },
  )
  const ready = on.node('test/netns/tool.ts', ['await', 'http://127.0.0.1:15021/healthz/ready'])
  await Promise.race([
    ready.line(/^ok/),
    sidecar.done().then(() => Promise.reject(new Error(`the sidecar of ${on.name} ended`))),
  ])
  return sidecar
}

function podOf(machine: Machine): string {
  return `apiVersion: v1
kind: Pod
metadata:
  name: ${machine.name}
  namespace: ${namespace}
  labels: { app: ${machine.name}, outrigger.dev/inject: "true" }
spec:
  serviceAccountName: ${machine.name}
`
}

function serviceDocuments({ name, on, clusterIps, ports }: ServiceSpec): string[] {
  const list = Object.entries(ports).map(([portName, port]) => `{ name: ${portName}, port: ${port} }`)
  const service = `apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  clusterIP: "${clusterIps[0]}"
  clusterIPs: [${clusterIps.map((ip) => `"${ip}"`).join(', ')}]
  ports: [${list.join(', ')}]
`
  const slices = [
    ['IPv4', on.v4],
    ['IPv6', on.v6],
  ].map(
    ([type, address]) => `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${name}-${type!.toLowerCase()}
  namespace: ${namespace}
  labels: { kubernetes.io/service-name: ${name} }
addressType: ${type}
ports: [${list.join(', ')}]
endpoints:
  - { addresses: ["${address}"], targetRef: { kind: Pod, name: ${on.name} } }
`,
  )
  return [service, ...slices]
}

export function peerAuthentication(mode: 'STRICT' | 'PERMISSIVE'): string {
  return `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: ${namespace} }
spec: { mtls: { mode: ${mode} } }
`
}
