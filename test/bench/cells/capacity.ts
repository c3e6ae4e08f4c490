/** What a request costs: one hop, by size, mutual TLS, two hops. */
import { type Cell, headers, type Running, urlAt } from '../cell.ts'
import { port } from '../ports.ts'
import { outbound, startInbound, startPair } from './ours.ts'
import {
  envoyFeatures,
  envoyRouter,
  fastProxy,
  haproxy,
  httpProxy3,
  nginxProxy,
  one,
  startEnvoyInbound,
  startEnvoyPair,
} from './peers.ts'

const bare = { group: 'plain', peers: { envoy: 'envoy-router', nginx: 'nginx', httpProxy3: 'http-proxy-3' } } as const
const sized = { group: 'sizes' } as const

/** 1 % of the requests, one span of each process at least. */
export const onePercent = { share: 0.01, spans: 1 } as const
export const onePercentOfTwo = { share: 0.01, spans: 2 } as const

/** The documents of our cells, by folders of outrigger/. */
export const featuresOff = ['base', 'plain', 'off'] as const
export const featuresOn = ['base', 'plain', 'on'] as const
export const mesh = ['base', 'mesh', 'strict', 'on'] as const

export function startDirect(): Promise<Running> {
  return Promise.resolve({ target: { url: urlAt(port.backend), headers }, measured: [], started: [] })
}

export const capacityCells: readonly Cell[] = [
  { name: 'direct', group: 'plain', about: 'no proxy: what generator and backend can do', start: startDirect },
  outbound({ ...bare, name: 'outrigger-off', about: 'ours, features off' }, featuresOff),
  outbound(
    {
      name: 'outrigger-on',
      group: 'plain',
      about: 'ours, features on',
      traced: onePercent,
      peers: { envoy: 'envoy-on', nginx: 'nginx', httpProxy3: 'http-proxy-3', off: 'outrigger-off' },
    },
    featuresOn,
  ),
  one({ ...bare, name: 'envoy-router', about: 'Envoy, router only' }, envoyRouter),
  one({ ...bare, name: 'envoy-on', about: 'Envoy, features on', traced: onePercent }, envoyFeatures),
  one({ ...bare, name: 'haproxy', about: 'HAProxy, no features' }, haproxy),
  one({ ...bare, name: 'nginx', about: 'nginx, no features' }, nginxProxy),
  one({ ...bare, name: 'http-proxy-3', about: 'http-proxy-3, keep-alive agent' }, httpProxy3),
  one({ ...bare, name: 'fast-proxy', about: 'fast-proxy, undici mode' }, fastProxy),

  outbound(
    { ...sized, name: 'outrigger-sizes', about: 'ours, features on', peers: { envoy: 'envoy-sizes' } },
    featuresOn,
  ),
  one({ ...sized, name: 'envoy-sizes', about: 'Envoy, features on' }, envoyFeatures),
  one({ ...sized, name: 'haproxy-sizes', about: 'HAProxy, no features', peers: { envoy: 'envoy-sizes' } }, haproxy),
  one({ ...sized, name: 'nginx-sizes', about: 'nginx, no features', peers: { envoy: 'envoy-sizes' } }, nginxProxy),

  {
    name: 'outrigger-tls',
    group: 'tls',
    about: 'ours inbound, mTLS 1.3 downstream, metrics, tracing',
    traced: onePercent,
    peers: { envoy: 'envoy-tls' },
    start: (bench) => startInbound(bench, mesh),
  },
  {
    name: 'envoy-tls',
    group: 'tls',
    about: 'Envoy inbound, mTLS 1.3 downstream, metrics, tracing',
    traced: onePercent,
    start: startEnvoyInbound,
  },
  {
    name: 'outrigger-mtls',
    group: 'two-hop',
    about: 'two of ours, mTLS 1.3 between, features on',
    traced: onePercentOfTwo,
    peers: { envoy: 'envoy-mtls' },
    start: (bench) => startPair(bench, mesh),
  },
  {
    name: 'envoy-mtls',
    group: 'two-hop',
    about: 'two Envoys, mTLS 1.3 between, features on',
    traced: onePercentOfTwo,
    start: startEnvoyPair,
  },
]
