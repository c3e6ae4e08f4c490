/** What a caller waits, and what one sidecar and ten of them hold, at 1,000 requests a second. */
import { type Bench, type Cell, headers, type Running, urlAt } from '../cell.ts'
import { manySidecars, port } from '../ports.ts'
import { featuresOn, mesh, onePercent, startDirect } from './capacity.ts'
import { at, outbound, startControlPlane, startPair, startSidecar } from './ours.ts'
import { envoyFaulty, envoyFeatures, envoyListeningAt, haproxy, nginxProxy, one, startEnvoyPair } from './peers.ts'

const featured = { group: 'memory', traced: onePercent } as const
const timed = { group: 'latency', baseline: 'direct-latency' } as const

export const memoryCells: readonly Cell[] = [
  outbound(
    { ...featured, name: 'outrigger-memory', about: 'ours, features on', peers: { envoy: 'envoy-memory' } },
    featuresOn,
  ),
  one({ ...featured, name: 'envoy-memory', about: 'Envoy, features on' }, envoyFeatures),
  {
    ...featured,
    name: 'outrigger-memory-10',
    about: 'each of ten of ours, 100 requests/s each',
    peers: { envoy: 'envoy-memory-10' },
    start: startTen,
  },
  { ...featured, name: 'envoy-memory-10', about: 'each of ten Envoys, 100 requests/s each', start: startTenEnvoys },
]

export const latencyCells: readonly Cell[] = [
  { name: 'direct-latency', group: 'latency', about: 'no proxy', start: startDirect },
  outbound(
    { ...timed, name: 'outrigger-latency', about: 'ours, features on', peers: { envoy: 'envoy-latency' } },
    featuresOn,
  ),
  one({ ...timed, name: 'envoy-latency', about: 'Envoy, features on' }, envoyFeatures),
  one({ ...timed, name: 'haproxy-latency', about: 'HAProxy, no features', peers: { envoy: 'envoy-latency' } }, haproxy),
  one({ ...timed, name: 'nginx-latency', about: 'nginx, no features', peers: { envoy: 'envoy-latency' } }, nginxProxy),
  {
    ...timed,
    name: 'outrigger-mtls-latency',
    about: 'two of ours, mTLS 1.3 between, features on',
    peers: { envoy: 'envoy-mtls-latency' },
    start: (bench) => startPair(bench, mesh),
  },
  {
    ...timed,
    name: 'envoy-mtls-latency',
    about: 'two Envoys, mTLS 1.3 between, features on',
    start: startEnvoyPair,
  },
]

export const errorCells: readonly Cell[] = [
  outbound(
    { group: 'errors', name: 'outrigger-errors', about: 'ours, features on', peers: { envoy: 'envoy-errors' } },
    ['base', 'faulty', 'on'],
  ),
  one({ group: 'errors', name: 'envoy-errors', about: 'Envoy, features on' }, envoyFaulty),
]

/** Ten sidecars of the same workload: ten copies on one host, as Pods of a Deployment are. */
async function startTen(bench: Bench): Promise<Running> {
  const control = await startControlPlane(bench, featuresOn)
  const sidecars = []
  for (const { outbound: own, admin, metrics, health } of manySidecars) {
    const flags = { outbound: at(own), admin: at(admin), metrics: at(metrics), health: at(health) }
    sidecars.push(await startSidecar(bench, control, 'client', { flags }))
  }
  const [target, ...more] = manySidecars.map((ports) => ({ url: urlAt(ports.outbound), headers }))
  return { target: target!, more, measured: sidecars, started: [...sidecars, control.process] }
}

function startTenEnvoys(bench: Bench): Promise<Running> {
  const envoys = manySidecars.map(({ outbound: own }) => envoyListeningAt(bench, 'features', port.envoyFeatures, own))
  const [target, ...more] = manySidecars.map((ports) => ({ url: urlAt(ports.outbound), headers }))
  return Promise.resolve({ target: target!, more, measured: envoys, started: envoys })
}
