/** HTTP/2 and gRPC: one hop, mutual TLS, two hops; Envoy and a relay of node:http2 beside them. */
import { type Bench, type Cell, type Group, headers, type Running, urlAt } from '../cell.ts'
import { nodeProgram, originateMtls } from '../helpers.ts'
import { port } from '../ports.ts'
import { onePercent, onePercentOfTwo } from './capacity.ts'
import { at, borrowCertificate, outbound, startControlPlane, startSidecar } from './ours.ts'
import { envoyHttp2, one, type PeerProxy, proxy } from './peers.ts'

type Kind = 'http2' | 'grpc'

const backends = { http2: port.backendHttp2, grpc: port.backendGrpc } as const
/** Folders of outrigger/ with features on. */
const policies = { http2: 'on', grpc: 'grpc-on' } as const
const alpn = 'outrigger/h2'

function plainFolders(kind: Kind): readonly string[] {
  return [kind, `${kind}-plain`, policies[kind]]
}

function meshFolders(kind: Kind): readonly string[] {
  return [kind, `${kind}-mesh`, 'strict', policies[kind]]
}

function inboundTo(kind: Kind): { readonly inbound: string } {
  return { inbound: `${at(port.inbound)}=${at(backends[kind])}` }
}

async function startInbound(bench: Bench, kind: Kind): Promise<Running> {
  const control = await startControlPlane(bench, meshFolders(kind))
  const pem = await borrowCertificate(bench, control)
  const sidecar = await startSidecar(bench, control, 'backend', { flags: inboundTo(kind) })
  const helper = originateMtls(bench, port.inbound, pem, alpn, 'http2')
  return {
    target: { url: urlAt(port.originateMtlsHttp2), headers },
    measured: [sidecar],
    started: [helper, sidecar, control.process],
  }
}

async function startPair(bench: Bench, kind: Kind): Promise<Running> {
  const control = await startControlPlane(bench, meshFolders(kind))
  const inbound = await startSidecar(bench, control, 'backend', { flags: inboundTo(kind) })
  const client = await startSidecar(bench, control, 'client')
  const measured = [client, inbound]
  return { target: { url: urlAt(port.outbound), headers }, measured, started: [...measured, control.process] }
}

function startEnvoyInbound(bench: Bench, kind: Kind): Promise<Running> {
  const inbound = envoyHttp2('inbound', backends[kind]).start(bench)
  const pem = `${bench.workFolder}/certificates/client.pem`
  const helper = originateMtls(bench, port.envoyInbound, pem, 'h2', 'http2')
  const target = { url: urlAt(port.originateMtlsHttp2), headers }
  return Promise.resolve({ target, measured: [inbound], started: [helper, inbound] })
}

function startEnvoyPair(bench: Bench, kind: Kind): Promise<Running> {
  const pair = (['outbound', 'inbound'] as const).map((side) => envoyHttp2(side, backends[kind]).start(bench))
  return Promise.resolve({ target: { url: urlAt(port.envoyOutbound), headers }, measured: pair, started: pair })
}

function nodeRelay(kind: Kind): PeerProxy {
  const command = (bench: Bench): readonly string[] => [
    ...nodeProgram(bench, 'http2-relay', port.nodeHttp2),
    `http://${at(backends[kind])}`,
  ]
  return { at: port.nodeHttp2, start: (bench) => proxy(bench, 'node:http2', command(bench)) }
}

function cellsOf(group: Group & ('h2' | 'grpc'), kind: Kind): readonly Cell[] {
  const traced = { group, traced: onePercent } as const
  return [
    {
      group,
      name: `direct-${group}`,
      about: 'no proxy: what generator and backend can do',
      start: () => Promise.resolve({ target: { url: urlAt(backends[kind]), headers }, measured: [], started: [] }),
    },
    outbound(
      {
        ...traced,
        name: `outrigger-${group}`,
        about: 'ours, features on',
        peers: { envoy: `envoy-${group}`, nodeHttp2: `node-${group}` },
      },
      plainFolders(kind),
    ),
    one({ ...traced, name: `envoy-${group}`, about: 'Envoy, features on' }, envoyHttp2('features', backends[kind])),
    one({ group, name: `node-${group}`, about: 'node:http2 on both sides, no features' }, nodeRelay(kind)),
    {
      ...traced,
      name: `outrigger-${group}-tls`,
      about: 'ours inbound, mTLS 1.3 downstream',
      peers: { envoy: `envoy-${group}-tls` },
      start: (bench) => startInbound(bench, kind),
    },
    {
      ...traced,
      name: `envoy-${group}-tls`,
      about: 'Envoy inbound, mTLS 1.3 downstream',
      start: (bench) => startEnvoyInbound(bench, kind),
    },
    {
      group,
      traced: onePercentOfTwo,
      name: `outrigger-${group}-mtls`,
      about: 'two of ours, mTLS 1.3 between (sum of both)',
      peers: { envoy: `envoy-${group}-mtls` },
      start: (bench) => startPair(bench, kind),
    },
    {
      group,
      traced: onePercentOfTwo,
      name: `envoy-${group}-mtls`,
      about: 'two Envoys, mTLS 1.3 between (sum of both)',
      start: (bench) => startEnvoyPair(bench, kind),
    },
  ]
}

export const http2Cells: readonly Cell[] = [...cellsOf('h2', 'http2'), ...cellsOf('grpc', 'grpc')]
