/** New connections, idle connections, opaque ones, and the start. */
import { type Bench, type Cell, headers, type Running, urlAt } from '../cell.ts'
import { port } from '../ports.ts'
import { featuresOn, mesh } from './capacity.ts'
import {
  type ControlPlane,
  newFolder,
  outbound,
  sidecarToken,
  spawnSidecar,
  startControlPlane,
  startInbound,
  startPlainInbound,
  startSidecar,
} from './ours.ts'
import {
  envoyFeatures,
  envoyTcp,
  haproxy,
  haproxyTcp,
  nginxProxy,
  one,
  type PeerProxy,
  startEnvoyInbound,
} from './peers.ts'

const plainInbound = ['base', 'mesh', 'on'] as const
const noTickets =
  'a sidecar gives no session tickets on purpose: a resumed session would skip the check of a certificate that was revoked or ' +
  'replaced meanwhile (CVE-2022-21654), so what is offered is a full handshake'

export const stormCells: readonly Cell[] = [
  outbound(
    { group: 'storm', name: 'outrigger-new', about: 'ours outbound, plaintext', peers: { envoy: 'envoy-new' } },
    featuresOn,
  ),
  one({ group: 'storm', name: 'envoy-new', about: 'Envoy outbound, plaintext' }, envoyFeatures),
  one({ group: 'storm', name: 'haproxy-new', about: 'HAProxy, plaintext', peers: { envoy: 'envoy-new' } }, haproxy),
  one({ group: 'storm', name: 'nginx-new', about: 'nginx, plaintext', peers: { envoy: 'envoy-new' } }, nginxProxy),
  {
    name: 'outrigger-full',
    group: 'storm',
    about: 'ours inbound, mTLS 1.3, full handshakes',
    peers: { envoy: 'envoy-full' },
    start: (bench) => startInbound(bench, mesh),
  },
  { name: 'envoy-full', group: 'storm', about: 'Envoy inbound, mTLS 1.3, full handshakes', start: startEnvoyInbound },
  {
    name: 'outrigger-resumed',
    group: 'storm',
    about: 'ours inbound, sessions offered',
    peers: { envoy: 'envoy-resumed' },
    resume: true,
    note: noTickets,
    start: (bench) => startInbound(bench, mesh),
  },
  {
    name: 'envoy-resumed',
    group: 'storm',
    about: 'Envoy inbound, sessions offered',
    resume: true,
    start: startEnvoyInbound,
  },
]

export const idleCells: readonly Cell[] = [
  outbound(
    { group: 'idle', name: 'outrigger-idle', about: 'ours outbound, plaintext', peers: { envoy: 'envoy-idle' } },
    featuresOn,
  ),
  {
    name: 'outrigger-idle-inbound',
    group: 'idle',
    about: 'ours inbound, plaintext',
    peers: { envoy: 'envoy-idle' },
    start: (bench) => startPlainInbound(bench, plainInbound),
  },
  one({ group: 'idle', name: 'envoy-idle', about: 'Envoy outbound, plaintext' }, envoyFeatures),
  {
    name: 'outrigger-idle-mtls',
    group: 'idle',
    about: 'ours inbound, mTLS 1.3',
    peers: { envoy: 'envoy-idle-mtls' },
    start: (bench) => startInbound(bench, mesh),
  },
  { name: 'envoy-idle-mtls', group: 'idle', about: 'Envoy inbound, mTLS 1.3', start: startEnvoyInbound },
]

export const tcpCells: readonly Cell[] = [
  {
    name: 'outrigger-tcp',
    group: 'tcp',
    about: 'ours outbound, a port declared tcp',
    peers: { haproxy: 'haproxy-tcp', envoy: 'envoy-tcp' },
    start: (bench) => startTcp(bench, ['base', 'tcp']),
  },
  one({ group: 'tcp', name: 'haproxy-tcp', about: 'HAProxy, mode tcp', peers: { envoy: 'envoy-tcp' } }, haproxyTcp),
  one({ group: 'tcp', name: 'envoy-tcp', about: 'Envoy, tcp_proxy', peers: { haproxy: 'haproxy-tcp' } }, envoyTcp),
  {
    name: 'outrigger-tcp-mtls',
    group: 'tcp',
    about: 'two of ours, mTLS 1.3 between (sum of both)',
    peers: { haproxy: 'haproxy-tcp', envoy: 'envoy-tcp' },
    start: (bench) => startTcp(bench, ['base', 'mesh', 'strict', 'tcp-mesh'], true),
  },
]

/** The generator's connections reach the client's sidecar at a port that stands for one opaque port of the Service. */
async function startTcp(bench: Bench, folders: readonly string[], pair = false): Promise<Running> {
  const control = await startControlPlane(bench, folders)
  const inbound = pair ? [await startSidecar(bench, control, 'backend')] : []
  const flags = { upstream: `127.0.0.1:${port.outboundTcp}=opaque:9000` }
  const measured = [await startSidecar(bench, control, 'client', { flags }), ...inbound]
  return { target: { url: urlAt(port.outboundTcp), headers }, measured, started: [...measured, control.process] }
}

/** One control plane for all starts of a round. */
function ours(name: string, about: string, keepState: boolean): Cell {
  const controls = new WeakMap<Bench, { readonly control: ControlPlane; readonly stateFolder: string }>()
  return {
    name,
    group: 'start',
    about,
    peers: { envoy: 'envoy-start' },
    start: async (bench) => {
      const control = await startControlPlane(bench, featuresOn)
      const stateFolder = newFolder(bench, 'client')
      if (keepState) await (await startSidecar(bench, control, 'client', { stateFolder })).stop()
      controls.set(bench, { control, stateFolder })
      return { target: { url: urlAt(port.outbound), headers }, measured: [], started: [control.process] }
    },
    again: async (bench) => {
      const { control, stateFolder } = controls.get(bench)!
      const token = await sidecarToken(bench, control, 'client')
      const options = keepState ? { stateFolder } : {}
      return () => ({
        target: { url: urlAt(port.outbound), headers },
        measured: [spawnSidecar(bench, token, control, 'client', options)],
      })
    },
  }
}

function peer(name: string, about: string, proxy: PeerProxy): Cell {
  const target = { url: urlAt(proxy.at), headers }
  return {
    name,
    group: 'start',
    about,
    start: () => Promise.resolve({ target, measured: [], started: [] }),
    again: (bench) => Promise.resolve(() => ({ target, measured: [proxy.start(bench)] })),
  }
}

export const startCells: readonly Cell[] = [
  ours('outrigger-start', 'ours, a first start: certificate and policy come from the control plane', false),
  ours('outrigger-restart', 'ours, certificate and last good policy are kept', true),
  peer('envoy-start', 'Envoy, configuration from a file', envoyFeatures),
]
