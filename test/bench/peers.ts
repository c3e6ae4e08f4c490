/** The proxies that Outrigger is compared with, and the direct way to the backend. */
import path from 'node:path'
import { type Bench, type Cell, headers, urlAt } from './cell.ts'
import { nginx, nodeProgram, originateMtls } from './helpers.ts'
import { port } from './ports.ts'
import type { Started } from './processes.ts'

const bare = { group: 'plain', traced: false, envoy: 'envoy-router', httpProxy3: 'http-proxy-3' } as const

export const direct: Cell = {
  name: 'direct',
  group: 'plain',
  about: 'no proxy: what generator and backend can do',
  traced: false,
  start: () => Promise.resolve({ target: { url: urlAt(port.backend), headers }, measured: [], started: [] }),
}

export const peers: readonly Cell[] = [
  one({ ...bare, name: 'envoy-router', about: 'Envoy, router only' }, port.envoyRouter, (bench) =>
    envoy(bench, 'router'),
  ),
  one({ ...bare, name: 'envoy-on', about: 'Envoy, features on', traced: true }, port.envoyFeatures, (bench) =>
    envoy(bench, 'features'),
  ),
  one({ ...bare, name: 'haproxy', about: 'HAProxy, no features' }, port.haproxy, (bench) =>
    proxy(bench, 'haproxy', [bench.tools.haproxy, '-db', '-f', path.join(bench.folder, 'haproxy', 'proxy.cfg')]),
  ),
  one({ ...bare, name: 'nginx', about: 'nginx, no features' }, port.nginx, (bench) =>
    proxy(bench, 'nginx', nginx(bench, 'proxy.conf')),
  ),
  one({ ...bare, name: 'http-proxy-3', about: 'http-proxy-3, keep-alive agent' }, port.httpProxy3, (bench) =>
    proxy(bench, 'http-proxy-3', nodeProgram(bench, 'http-proxy-3.ts', port.httpProxy3)),
  ),
  one({ ...bare, name: 'fast-proxy', about: 'fast-proxy, undici mode' }, port.fastProxy, (bench) =>
    proxy(bench, 'fast-proxy', nodeProgram(bench, 'fast-proxy.ts', port.fastProxy)),
  ),
  {
    name: 'envoy-tls',
    group: 'tls',
    about: 'Envoy inbound, mTLS 1.3 downstream, metrics, tracing',
    traced: true,
    start: (bench) => {
      const inbound = envoy(bench, 'inbound')
      const certificate = path.join(bench.workFolder, 'certificates', 'client.pem')
      const helper = originateMtls(bench, port.envoyInbound, certificate, 'http/1.1')
      const target = { url: urlAt(port.originateMtls), headers }
      return Promise.resolve({ target, measured: [inbound], started: [helper, inbound] })
    },
  },
  {
    name: 'envoy-mtls',
    group: 'two-hop',
    about: 'two Envoys, mTLS 1.3 between, features on',
    traced: true,
    start: (bench) => {
      const pair = [envoy(bench, 'outbound'), envoy(bench, 'inbound')]
      return Promise.resolve({ target: { url: urlAt(port.envoyOutbound), headers }, measured: pair, started: pair })
    },
  },
  one(
    { name: 'envoy-memory', group: 'memory', about: 'Envoy, features on', traced: true },
    port.envoyFeatures,
    (bench) => envoy(bench, 'features'),
  ),
]

/** A cell of one process that listens at `at`. */
function one(cell: Omit<Cell, 'start'>, at: number, start: (bench: Bench) => Started): Cell {
  return {
    ...cell,
    start: (bench) => {
      const started = start(bench)
      return Promise.resolve({ target: { url: urlAt(at), headers }, measured: [started], started: [started] })
    },
  }
}

function proxy(bench: Bench, name: string, command: readonly string[]): Started {
  return bench.processes.start(name, command, { cpu: bench.proxyCpu, cwd: bench.workFolder })
}

/** One worker, as on one CPU; --use-dynamic-base-id lets other Envoys run on the machine. */
function envoy(bench: Bench, config: string): Started {
  const file = path.join(bench.folder, 'envoy', `${config}.yaml`)
  const flags = ['--concurrency', '1', '--use-dynamic-base-id', '-l', 'error', '-c', file]
  return proxy(bench, `envoy (${config})`, [bench.tools.envoy, ...flags])
}
