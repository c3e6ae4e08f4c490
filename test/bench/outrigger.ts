/** Outrigger as it is shipped: the compiled sidecar, fed by the compiled control plane (not measured). */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Bench, type Cell, headers, type Running, urlAt } from './cell.ts'
import { originateMtls } from './helpers.ts'
import { port } from './ports.ts'
import type { Started } from './processes.ts'

const run = promisify(execFile)
const command = fileURLToPath(new URL('../../dist/src/cli/outrigger', import.meta.url))

export const outrigger: readonly Cell[] = [
  outbound(
    {
      name: 'outrigger-off',
      group: 'plain',
      about: 'ours, features off',
      traced: false,
      envoy: 'envoy-router',
      httpProxy3: 'http-proxy-3',
    },
    ['base', 'plain', 'off'],
  ),
  outbound(
    {
      name: 'outrigger-on',
      group: 'plain',
      about: 'ours, features on',
      traced: true,
      envoy: 'envoy-on',
      httpProxy3: 'http-proxy-3',
    },
    ['base', 'plain', 'on'],
  ),
  {
    name: 'outrigger-tls',
    group: 'tls',
    about: 'ours inbound, mTLS 1.3 downstream, metrics, tracing',
    traced: true,
    envoy: 'envoy-tls',
    start: startInbound,
  },
  {
    name: 'outrigger-mtls',
    group: 'two-hop',
    about: 'two of ours, mTLS 1.3 between, features on',
    traced: true,
    envoy: 'envoy-mtls',
    start: startPair,
  },
  outbound(
    { name: 'outrigger-memory', group: 'memory', about: 'ours, features on', traced: true, envoy: 'envoy-memory' },
    ['base', 'plain', 'on'],
  ),
]

/** A cell of one outbound sidecar under the documents of these folders of outrigger/. */
function outbound(cell: Omit<Cell, 'start'>, folders: readonly string[]): Cell {
  return {
    ...cell,
    start: async (bench): Promise<Running> => {
      const control = await startControlPlane(bench, folders)
      const sidecar = await startSidecar(bench, control, 'client', bench.proxyCpu)
      const target = { url: urlAt(port.outbound), headers }
      return { target, measured: [sidecar], started: [sidecar, control.process] }
    },
  }
}

/** The measured sidecar is the backend's; the generator's requests reach it through the mTLS helper. */
async function startInbound(bench: Bench): Promise<Running> {
  const control = await startControlPlane(bench, ['base', 'mesh', 'on'])
  const certificate = await borrowCertificate(bench, control)
  const sidecar = await startSidecar(bench, control, 'backend', bench.proxyCpu)
  const helper = originateMtls(bench, port.inbound, certificate, 'outrigger/http1')
  const target = { url: urlAt(port.originateMtls), headers }
  return { target, measured: [sidecar], started: [helper, sidecar, control.process] }
}

async function startPair(bench: Bench): Promise<Running> {
  const control = await startControlPlane(bench, ['base', 'mesh', 'on'])
  const inbound = await startSidecar(bench, control, 'backend', bench.proxyCpu)
  const client = await startSidecar(bench, control, 'client', bench.proxyCpu)
  const target = { url: urlAt(port.outbound), headers }
  return { target, measured: [client, inbound], started: [client, inbound, control.process] }
}

interface ControlPlane {
  readonly process: Started
  readonly stateFolder: string
}

async function startControlPlane(bench: Bench, folders: readonly string[]): Promise<ControlPlane> {
  const stateFolder = newFolder(bench, 'control-plane')
  const files = folders.map((folder) => path.join(bench.folder, 'outrigger', folder))
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

type Workload = keyof typeof listeners

/** Resolves when it is ready. By default its state folder is new: it joins by token, as a first start does. */
async function startSidecar(
  bench: Bench,
  control: ControlPlane,
  name: Workload,
  cpu: number,
  stateFolder = newFolder(bench, name),
): Promise<Started> {
  const token = await run(command, ['token', `bench/${name}`, '--state-dir', control.stateFolder])
  const tokenFile = path.join(bench.workFolder, `${name}.token`)
  writeFileSync(tokenFile, token.stdout, { mode: 0o600 })
  const options = flags({
    workload: `bench/${name}`,
    capture: 'explicit',
    'control-plane': `localhost:${port.control}`,
    'trust-bundle': path.join(control.stateFolder, 'root.pem'),
    'token-file': tokenFile,
    'state-dir': stateFolder,
    'log-level': 'warn',
    ...listeners[name],
  })
  const started = bench.processes.start(`sidecar ${name}`, [command, 'proxy', 'run', ...options], {
    cpu,
    cwd: bench.workFolder,
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port.sink}` },
  })
  await bench.processes.ready(`http://${listeners[name].health}/healthz/ready`, {}, [started])
  return started
}

const listeners = {
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

function at(number: number): string {
  return `127.0.0.1:${number}`
}

function flags(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value])
}

/**
 * The client workload's certificate and key as one file for HAProxy: a sidecar is started to get them from our own
 * authority, and stopped again.
 */
async function borrowCertificate(bench: Bench, control: ControlPlane): Promise<string> {
  const folder = newFolder(bench, 'client')
  const sidecar = await startSidecar(bench, control, 'client', bench.restCpu, folder)
  await sidecar.stop()
  const identity = JSON.parse(readFileSync(path.join(folder, 'identity.json'), 'utf8')) as Record<string, string>
  const file = path.join(bench.workFolder, 'client-identity.pem')
  rmSync(file, { force: true })
  writeFileSync(file, `${identity['certificateChainPem']}\n${identity['privateKeyPem']}\n`, { mode: 0o600 })
  return file
}

function newFolder(bench: Bench, name: string): string {
  return mkdtempSync(path.join(bench.workFolder, `${name}-`))
}
