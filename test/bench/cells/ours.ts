/** Outrigger as it is shipped: the compiled sidecar, fed by the compiled control plane (not measured). */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Bench, type Cell, headers, type Running, urlAt } from '../cell.ts'
import { originateMtls } from '../helpers.ts'
import { port } from '../ports.ts'
import type { Started } from '../processes.ts'

const run = promisify(execFile)
const command = fileURLToPath(new URL('../../../dist/src/cli/outrigger', import.meta.url))

/** A cell of one outbound sidecar under the documents of these folders of outrigger/. */
export function outbound(cell: Omit<Cell, 'start'>, folders: readonly string[], silent = false): Cell {
  return {
    ...cell,
    start: async (bench): Promise<Running> => {
      const control = await startControlPlane(bench, folders)
      const sidecar = await startSidecar(bench, control, 'client', { silent })
      const target = { url: urlAt(port.outbound), headers }
      return { target, measured: [sidecar], started: [sidecar, control.process], metrics: metricsOf('client') }
    },
  }
}

/** The measured sidecar is the backend's, and plain requests reach it straight from the generator. */
export async function startPlainInbound(bench: Bench, folders: readonly string[]): Promise<Running> {
  const control = await startControlPlane(bench, folders)
  const sidecar = await startSidecar(bench, control, 'backend')
  const target = { url: urlAt(port.inbound), headers }
  return { target, measured: [sidecar], started: [sidecar, control.process], metrics: metricsOf('backend') }
}

/** The measured sidecar is the backend's; the generator's requests reach it through the mTLS helper. */
export async function startInbound(bench: Bench, folders: readonly string[]): Promise<Running> {
  const control = await startControlPlane(bench, folders)
  const pem = await borrowCertificate(bench, control)
  const sidecar = await startSidecar(bench, control, 'backend')
  const helper = originateMtls(bench, port.inbound, pem, alpn)
  const target = { url: urlAt(port.originateMtls), headers }
  return {
    target,
    measured: [sidecar],
    started: [helper, sidecar, control.process],
    client: { port: port.inbound, pem, alpn },
    metrics: metricsOf('backend'),
  }
}

/** Two sidecars on the proxy's CPU, the generator's requests at the first. */
export async function startPair(bench: Bench, folders: readonly string[]): Promise<Running> {
  const control = await startControlPlane(bench, folders)
  const inbound = await startSidecar(bench, control, 'backend')
  const client = await startSidecar(bench, control, 'client')
  const target = { url: urlAt(port.outbound), headers }
  return {
    target,
    measured: [client, inbound],
    started: [client, inbound, control.process],
    metrics: metricsOf('client'),
  }
}

/** What our sidecars speak among themselves. */
const alpn = 'outrigger/http1'

export interface ControlPlane {
  readonly process: Started
  readonly stateFolder: string
}

export async function startControlPlane(bench: Bench, folders: readonly string[]): Promise<ControlPlane> {
  const stateFolder = newFolder(bench, 'control-plane')
  // An absolute one is the caller's own.
  const files = folders.map((folder) => path.resolve(bench.folder, 'outrigger', folder))
  const options = flags({
    'state-dir': stateFolder,
    'stream-port': String(port.control),
    'admin-port': String(port.controlAdmin),
    'trust-domain': 'bench.test',
    'log-level': 'warn',
  })
  const process = bench.processes.start(
    'control plane',
    [command, 'control-plane', 'run', '-f', ...files, ...options],
    {
      cpu: bench.restCpu,
      cwd: bench.workFolder,
    },
  )
  await bench.processes.ready(`http://127.0.0.1:${port.controlAdmin}/healthz`, {}, [process])
  return { process, stateFolder }
}

export type Workload = keyof typeof listeners

export interface SidecarOptions {
  /** The proxy's, unless said. */
  readonly cpu?: number
  /** Unless said it is new: the sidecar joins by token, as a first start does. */
  readonly stateFolder?: string
  /** More flags, or others in place of those of the workload. */
  readonly flags?: Readonly<Record<string, string>>
  /** For one that writes an access log. */
  readonly silent?: boolean
}

/** Resolves when it is ready. */
export async function startSidecar(
  bench: Bench,
  control: ControlPlane,
  name: Workload,
  options: SidecarOptions = {},
): Promise<Started> {
  const started = spawnSidecar(bench, await sidecarToken(bench, control, name), control, name, options)
  const { health } = { ...listeners[name], ...options.flags }
  await bench.processes.ready(`http://${health}/healthz/ready`, {}, [started])
  return started
}

/** A file with a token that lets a sidecar join. */
export async function sidecarToken(bench: Bench, control: ControlPlane, name: Workload): Promise<string> {
  const token = await run(command, ['token', `bench/${name}`, '--state-dir', control.stateFolder])
  const file = path.join(bench.workFolder, `${name}.token`)
  writeFileSync(file, token.stdout, { mode: 0o600 })
  return file
}

/** Starts the process and does not wait. */
export function spawnSidecar(
  bench: Bench,
  tokenFile: string,
  control: ControlPlane,
  name: Workload,
  options: SidecarOptions = {},
): Started {
  const { cpu = bench.proxyCpu, stateFolder = newFolder(bench, name), silent = false } = options
  const all = flags({
    workload: `bench/${name}`,
    capture: 'explicit',
    'control-plane': `localhost:${port.control}`,
    'trust-bundle': path.join(control.stateFolder, 'root.pem'),
    'token-file': tokenFile,
    'state-dir': stateFolder,
    'log-level': 'warn',
    ...listeners[name],
    ...options.flags,
  })
  return bench.processes.start(`sidecar ${name}`, [command, 'proxy', 'run', ...all], {
    cpu,
    cwd: bench.workFolder,
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port.sink}` },
    silent,
  })
}

export const listeners = {
  client: {
    outbound: at(port.outbound),
    admin: at(port.outboundAdmin),
    metrics: at(port.outboundMetrics),
    health: at(port.outboundHealth),
  },
  backend: {
    inbound: `${at(port.inbound)}=${at(port.backend)}`,
    outbound: at(port.inboundOutbound),
    admin: at(port.inboundAdmin),
    metrics: at(port.inboundMetrics),
    health: at(port.inboundHealth),
  },
} as const

export function at(number: number): string {
  return `127.0.0.1:${number}`
}

function metricsOf(name: Workload): string {
  return `http://${listeners[name].metrics}/metrics`
}

function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])
}

/**
 * The client workload's certificate and key as one file for HAProxy: a sidecar is started to get them from our own
 * authority, and stopped again.
 */
export async function borrowCertificate(bench: Bench, control: ControlPlane): Promise<string> {
  const folder = newFolder(bench, 'client')
  const sidecar = await startSidecar(bench, control, 'client', { cpu: bench.restCpu, stateFolder: folder })
  await sidecar.stop()
  const identity = JSON.parse(readFileSync(path.join(folder, 'identity.json'), 'utf8')) as Record<string, string>
  const file = path.join(bench.workFolder, 'client-identity.pem')
  rmSync(file, { force: true })
  writeFileSync(file, `${identity['certificateChainPem']}\n${identity['privateKeyPem']}\n`, { mode: 0o600 })
  return file
}

export function newFolder(bench: Bench, name: string): string {
  return mkdtempSync(path.join(bench.workFolder, `${name}-`))
}
