/** The proxies that Outrigger is compared with: how each is started. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Bench, type Cell, headers, type Running, urlAt } from '../cell.ts'
import { nginx, nodeProgram, originateMtls } from '../helpers.ts'
import { port } from '../ports.ts'
import type { Started } from '../processes.ts'

/** Starts one process and says where it listens. */
export interface PeerProxy {
  readonly at: number
  readonly start: (bench: Bench) => Started
}

export const envoyRouter = envoyProxy('router', port.envoyRouter)
export const envoyFeatures = envoyProxy('features', port.envoyFeatures)
export const envoyTcp = envoyProxy('tcp', port.envoyTcp)
/** The features, before the backend's port where one request in five fails. */
export const envoyFaulty: PeerProxy = {
  at: port.envoyFeatures,
  start: (bench) => envoy(bench, 'features', [[`port_value: ${port.backend} `, `port_value: ${port.faulty} `]]),
}
export const haproxy = haproxyProxy('proxy', port.haproxy)
export const haproxyTcp = haproxyProxy('tcp', port.haproxyTcp)
export const nginxProxy: PeerProxy = {
  at: port.nginx,
  start: (bench) => proxy(bench, 'nginx', nginx(bench, 'proxy.conf')),
}
export const httpProxy3: PeerProxy = {
  at: port.httpProxy3,
  start: (bench) => proxy(bench, 'http-proxy-3', nodeProgram(bench, 'http-proxy-3', port.httpProxy3)),
}
export const fastProxy: PeerProxy = {
  at: port.fastProxy,
  start: (bench) => proxy(bench, 'fast-proxy', nodeProgram(bench, 'fast-proxy', port.fastProxy)),
}

/** HTTP/2 on both sides, and the routes of gRPC where the backend speaks that. */
export function envoyHttp2(config: 'features' | 'inbound' | 'outbound', backend: number): PeerProxy {
  const upstream = `typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
      `
  const calls = [
    ['path_separated_prefix: /bench', 'path_separated_prefix: /grpc.testing.TestService'],
    ['retry_on: connect-failure,reset,', 'retry_on: connect-failure,reset,unavailable,'],
  ] as const
  const changes = {
    features: [[`port_value: ${port.backend} `, `port_value: ${backend} `]],
    inbound: [
      [`port_value: ${port.backend} `, `port_value: ${backend} `],
      ['alpn_protocols: [http/1.1]', 'alpn_protocols: [h2]'],
    ],
    outbound: [['alpn_protocols: [http/1.1]', 'alpn_protocols: [h2]']],
  } as const
  const cluster =
    config === 'inbound'
      ? (['- name: application\n      type: STATIC', `- name: application\n      ${upstream}type: STATIC`] as const)
      : (['lb_policy: LEAST_REQUEST', `${upstream}lb_policy: LEAST_REQUEST`] as const)
  const routes = config === 'inbound' || backend !== port.backendGrpc ? [] : calls
  const at = { features: port.envoyFeatures, inbound: port.envoyInbound, outbound: port.envoyOutbound }[config]
  return { at, start: (bench) => envoy(bench, config, [...changes[config], cluster, ...routes]) }
}

/** A cell of one process. */
export function one(cell: Omit<Cell, 'start'>, { at, start }: PeerProxy): Cell {
  return {
    ...cell,
    start: (bench) => {
      const started = start(bench)
      return Promise.resolve({ target: { url: urlAt(at), headers }, measured: [started], started: [started] })
    },
  }
}

/** An inbound Envoy, and the helper that turns the generator's requests into mTLS ones. */
export function startEnvoyInbound(bench: Bench): Promise<Running> {
  const inbound = envoy(bench, 'inbound')
  const pem = path.join(bench.workFolder, 'certificates', 'client.pem')
  const helper = originateMtls(bench, port.envoyInbound, pem, 'http/1.1')
  const target = { url: urlAt(port.originateMtls), headers }
  return Promise.resolve({
    target,
    measured: [inbound],
    started: [helper, inbound],
    client: { port: port.envoyInbound, pem, alpn: 'http/1.1' },
  })
}

export function startEnvoyPair(bench: Bench): Promise<Running> {
  const pair = [envoy(bench, 'outbound'), envoy(bench, 'inbound')]
  return Promise.resolve({ target: { url: urlAt(port.envoyOutbound), headers }, measured: pair, started: pair })
}

export function proxy(bench: Bench, name: string, command: readonly string[]): Started {
  return bench.processes.start(name, command, { cpu: bench.proxyCpu, cwd: bench.workFolder })
}

function haproxyProxy(config: string, at: number): PeerProxy {
  const start = (bench: Bench): Started => {
    const file = path.join(bench.folder, 'haproxy', `${config}.cfg`)
    return proxy(bench, `haproxy (${config})`, [bench.tools.haproxy, '-db', '-f', file])
  }
  return { at, start }
}

function envoyProxy(config: string, at: number): PeerProxy {
  return { at, start: (bench) => envoy(bench, config) }
}

/** Envoy with a configuration whose listener is moved from port `from` to port `at`. */
export function envoyListeningAt(bench: Bench, config: string, from: number, at: number): Started {
  return envoy(bench, config, [[`port_value: ${from} `, `port_value: ${at} `]])
}

/** One worker, as on one CPU; --use-dynamic-base-id lets other Envoys run on the machine. */
function envoy(bench: Bench, config: string, changes: readonly (readonly [from: string, to: string])[] = []): Started {
  let file = path.join(bench.folder, 'envoy', `${config}.yaml`)
  if (changes.length > 0) {
    let text = readFileSync(file, 'utf8')
    for (const [from, to] of changes) {
      if (!text.includes(from)) throw new Error(`${file} has no '${from}'`)
      text = text.replaceAll(from, to)
    }
    file = path.join(mkdtempSync(path.join(bench.workFolder, 'envoy-')), `${config}.yaml`)
    writeFileSync(file, text)
  }
  const flags = ['--concurrency', '1', '--use-dynamic-base-id', '-l', 'error', '-c', file]
  return proxy(bench, `envoy (${config})`, [bench.tools.envoy, ...flags])
}
