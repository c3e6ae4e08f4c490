import { existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import type { WorkloadPlan } from './mesh-plan.ts'
import type { WantedPort } from './preflight.ts'
import type { ProgramSpec } from './program.ts'
import { sidecarPorts, workloadKey } from './sidecar-client.ts'

/** What every program of one `up` shares. */
export interface MeshSurroundings {
  /** Folder of documents; the commands of the Pods run in it. */
  readonly folder: string
  /** Laid over it, in this order. */
  readonly overlays: readonly string[]
  /** Of the control plane: authority, token key. */
  readonly stateDir: string
  /** Of `up` and the sidecars. */
  readonly ownStateDir: string
  /** Address of the control plane. */
  readonly host: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly makeToken: (workload: WorkloadPlan) => Promise<string>
}

/** Ports of the control plane on this machine (15012 and 15014 are Istio's numbers). */
export const controlPlanePorts = { stream: 15_012, admin: 15_014 } as const

/** `outrigger control-plane run` as a child. */
export function controlPlaneProgram(mesh: MeshSurroundings): ProgramSpec {
  const folders = [mesh.folder, ...mesh.overlays].flatMap((folder) => ['-f', folder])
  return {
    name: 'control plane',
    ...outrigger(['control-plane', 'run', ...folders, '--state-dir', mesh.stateDir, '--host', mesh.host]),
    cwd: '.',
    env: ownEnvironment(mesh.env),
    logFile: join(mesh.ownStateDir, 'logs', 'control-plane.log'),
  }
}

/** `outrigger proxy run` for one Pod; it gets its join token by file descriptor 3. */
export function sidecarProgram(mesh: MeshSurroundings, workload: WorkloadPlan): ProgramSpec {
  const { address, ports } = workload
  const flags = {
    workload: workloadKey(workload),
    'control-plane': `${mesh.host}:${controlPlanePorts.stream}`,
    'trust-bundle': join(mesh.stateDir, 'root.pem'),
    'token-fd': '3',
    'state-dir': join(mesh.ownStateDir, 'workloads', workload.namespace, workload.name),
    capture: 'explicit',
    address,
    traces: `http://${mesh.host}:${controlPlanePorts.admin}/v1/traces`,
    'drain-timeout': '2s',
  }
  const inbound = ports.flatMap(({ port, appPort }) => ['--inbound', `${address}:${port}=${address}:${appPort}`])
  const args = ['proxy', 'run', ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]), ...inbound]
  return {
    name: `${workloadKey(workload)} sidecar`,
    ...outrigger(args, ['--max-semi-space-size=4']),
    cwd: '.',
    env: ownEnvironment(mesh.env),
    logFile: join(mesh.ownStateDir, 'logs', `${workload.namespace}.${workload.name}.sidecar.log`),
    secret: () => mesh.makeToken(workload),
  }
}

/** The containers of one Pod. They are told where to listen and, in the mesh, which proxy to call through. */
export function appPrograms(mesh: MeshSurroundings, workload: WorkloadPlan): readonly ProgramSpec[] {
  return workload.programs.map((program) => ({
    name: `${workloadKey(workload)} ${program.name}`,
    command: program.command,
    args: program.args,
    cwd: mesh.folder,
    env: {
      ...appEnvironment(mesh.env),
      HOST: workload.address,
      ...(program.appPort === undefined ? {} : { PORT: String(program.appPort) }),
      ...(workload.meshed ? proxyEnvironment(workload.address) : {}),
      ...program.env,
    },
    logFile: join(mesh.ownStateDir, 'logs', `${workload.namespace}.${workload.name}.${program.name}.log`),
  }))
}

/** All that the programs above will listen on. */
export function wantedPorts(mesh: MeshSurroundings, workloads: readonly WorkloadPlan[]): readonly WantedPort[] {
  return [
    ...Object.entries(controlPlanePorts).map(([name, port]) => ({
      address: mesh.host,
      port,
      purpose: `control plane, ${name}`,
    })),
    ...workloads.flatMap((workload) => {
      const { address, meshed, ports } = workload
      const want = (port: number, what: string): WantedPort => ({
        address,
        port,
        purpose: `${workloadKey(workload)}, ${what}`,
      })
      return [
        ...(meshed ? Object.entries(sidecarPorts).map(([name, port]) => want(port, name)) : []),
        ...(meshed ? ports.map(({ port }) => want(port, 'inbound')) : []),
        ...ports.map(({ appPort }) => want(appPort, 'application')),
      ]
    }),
  ]
}

/** Our own programs run on the same Node, from the same files as this one. */
function outrigger(
  args: readonly string[],
  flags: readonly string[] = [],
): { command: string; args: readonly string[] } {
  const built = join(import.meta.dirname, '..', 'main.js')
  const main = existsSync(built) ? built : join(import.meta.dirname, '..', 'main.ts')
  return { command: process.execPath, args: [...flags, '--disable-warning=ExperimentalWarning', main, ...args] }
}

type Environment = Readonly<Record<string, string | undefined>>

/** OUTRIGGER_* of this shell would override what is decided here for each child. */
function ownEnvironment(env: Environment): Record<string, string> {
  return keep(env, (name) => !name.startsWith('OUTRIGGER_'))
}

/** The application's proxy is its sidecar, not the one of this shell. */
function appEnvironment(env: Environment): Record<string, string> {
  const kept = keep(env, (name) => !name.startsWith('OUTRIGGER_') && !/^(https?|all|no)_proxy$/i.test(name))
  // A command 'node' means the one that runs us: the machine may have none, or one that cannot run TypeScript.
  return { ...kept, PATH: [dirname(process.execPath), kept['PATH'] ?? '/usr/bin:/bin'].join(delimiter) }
}

/** Node honours http_proxy when told to; curl, Python, Go and others do by themselves. */
function proxyEnvironment(address: string): Record<string, string> {
  const proxy = `http://${address}:${sidecarPorts.outbound}`
  return { http_proxy: proxy, HTTP_PROXY: proxy, NODE_USE_ENV_PROXY: '1' }
}

function keep(env: Environment, wanted: (name: string) => boolean): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) if (value !== undefined && wanted(name)) kept[name] = value
  return kept
}
