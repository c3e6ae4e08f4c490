/** Per group: what is measured, for how long, and what its table shows. */
import type { Group, Peer } from './cell.ts'
import { capacity, sizes } from './protocols/capacity.ts'
import { idle, storm } from './protocols/connections.ts'
import { withErrors } from './protocols/errors.ts'
import { latency, pacedPerSecond } from './protocols/latency.ts'
import { memoryAtRate } from './protocols/memory.ts'
import { calls, multiplexed } from './protocols/multiplexed.ts'
import { startToServing } from './protocols/start.ts'
import { tcp } from './protocols/tcp.ts'
import type { Protocol } from './protocols/window.ts'
import type { Timing } from './timing.ts'

/** A figure, or what it is in relation to a peer's. */
export interface Column {
  readonly head: string
  readonly figure: string
  readonly peer?: Peer
  readonly digits: number
  /** From the figure's base unit to the column's. */
  readonly factor?: number
  /** The median alone, without the extremes. */
  readonly short?: boolean
}

export interface GroupSpec {
  readonly title: string
  readonly protocol: Protocol
  readonly timing: Timing
  readonly columns: readonly Column[]
}

const cost: readonly Column[] = [
  { head: 'CPU us/request', figure: 'cpuUsPerRequest', digits: 1 },
  { head: 'requests/CPU-s', figure: 'requestsPerCpuSecond', digits: 0 },
  { head: 'requests/s', figure: 'requestsPerSecond', digits: 0, short: true },
]
const peak: readonly Column[] = [mb('RSS MB', 'rssBytes'), mb('USS MB', 'ussBytes')]

function to(peer: Peer, name: string, figure = 'requestsPerCpuSecond'): Column {
  return { head: `to ${name}`, figure, peer, digits: 2 }
}

function us(name: string, head = name): Column {
  return { head, figure: `${name}Us`, digits: 0, short: true }
}

function mb(head: string, figure: string): Column {
  return { head, figure, digits: 0, factor: 1e-6, short: true }
}

const long: Timing = { rounds: 3, seconds: 6, warmupSeconds: 4, connections: 50 }

export const groups: Readonly<Record<Group, GroupSpec>> = {
  plain: {
    title: 'HTTP/1.1, one hop, no TLS (ratios of requests per CPU-second: above 1 is cheaper)',
    protocol: capacity,
    timing: long,
    columns: [...cost, ...peak, to('envoy', 'Envoy'), to('nginx', 'nginx'), to('httpProxy3', 'http-proxy-3')],
  },
  sizes: {
    title: 'HTTP/1.1 by connections (1 KB) and bodies (16 connections): requests, from 64 KB on MB, per CPU-second',
    protocol: sizes,
    timing: { rounds: 2, seconds: 3, warmupSeconds: 4, connections: 16 },
    columns: [
      { head: '1 conn', figure: 'connections1', digits: 0, short: true },
      { head: '16, 1 KB', figure: 'connections16', digits: 0, short: true },
      { head: '64', figure: 'connections64', digits: 0, short: true },
      { head: '0 B', figure: 'body0', digits: 0, short: true },
      { head: '64 KB', figure: 'body64k', digits: 0, factor: 1e-6, short: true },
      { head: '1 MB', figure: 'body1m', digits: 0, factor: 1e-6, short: true },
      ...(['connections1', 'connections16', 'connections64', 'body0', 'body64k', 'body1m'] as const).map(
        (figure): Column => ({
          head: `${figure.replace('connections', '').replace('body', '')} to Envoy`,
          figure,
          peer: 'envoy',
          digits: 2,
          short: true,
        }),
      ),
    ],
  },
  tls: {
    title: 'HTTP/1.1, one hop, mutual TLS 1.3 downstream, plain upstream',
    protocol: capacity,
    timing: long,
    columns: [...cost, ...peak, to('envoy', 'Envoy')],
  },
  h2: {
    title: 'HTTP/2, 10 connections with 10 streams and with 1 (requests per CPU-second: above 1 is cheaper)',
    protocol: multiplexed,
    timing: { rounds: 3, seconds: 4, warmupSeconds: 4, connections: 10 },
    columns: [
      { head: 'us, 10 streams', figure: 'streams10Us', digits: 1 },
      { head: '1 stream', figure: 'streams1Us', digits: 1 },
      { head: 'requests/s', figure: 'streams10PerSecond', digits: 0, short: true },
      { head: '(1)', figure: 'streams1PerSecond', digits: 0, short: true },
      mb('RSS MB', 'rssBytes'),
      to('envoy', 'Envoy (10)', 'streams10PerCpuSecond'),
      to('envoy', '(1)', 'streams1PerCpuSecond'),
      to('nodeHttp2', 'node:http2 (10)', 'streams10PerCpuSecond'),
      to('nodeHttp2', '(1)', 'streams1PerCpuSecond'),
    ],
  },
  grpc: {
    title: 'gRPC, 10 connections: unary with 10 streams and with 1, then streams of 1,000 messages of 128 bytes',
    protocol: calls,
    timing: { rounds: 3, seconds: 4, warmupSeconds: 4, connections: 10 },
    columns: [
      { head: 'us/call, 10 streams', figure: 'unary10Us', digits: 1 },
      { head: '1 stream', figure: 'unary1Us', digits: 1 },
      { head: 'us/message', figure: 'messagesUs', digits: 2 },
      { head: 'calls/s', figure: 'unary10PerSecond', digits: 0, short: true },
      { head: 'messages/s', figure: 'messagesPerSecond', digits: 0, short: true },
      mb('RSS MB', 'rssBytes'),
      to('envoy', 'Envoy (10)', 'unary10PerCpuSecond'),
      to('envoy', '(1)', 'unary1PerCpuSecond'),
      to('envoy', '(messages)', 'messagesPerCpuSecond'),
      to('nodeHttp2', 'node:http2 (10)', 'unary10PerCpuSecond'),
      to('nodeHttp2', '(messages)', 'messagesPerCpuSecond'),
    ],
  },
  'two-hop': {
    title: 'HTTP/1.1, two hops, mutual TLS 1.3 between them (sum of both)',
    protocol: capacity,
    timing: long,
    columns: [...cost, ...peak, { head: 'CPU to Envoy', figure: 'cpuUsPerRequest', peer: 'envoy', digits: 2 }],
  },
  tax: {
    title: 'features one by one (CPU over that of the same sidecar without it)',
    protocol: capacity,
    timing: { rounds: 2, seconds: 5, warmupSeconds: 4, connections: 50 },
    columns: [
      { head: 'CPU us/request', figure: 'cpuUsPerRequest', digits: 1 },
      { head: 'to off', figure: 'cpuUsPerRequest', peer: 'off', digits: 2 },
    ],
  },
  tcp: {
    title: 'opaque bytes, one hop without TLS: answers of 1 MB, then exchanges of 128 bytes',
    protocol: tcp,
    timing: { rounds: 2, seconds: 4, warmupSeconds: 3, connections: 8 },
    columns: [
      { head: 'MB/CPU-s', figure: 'bytesPerCpuSecond', digits: 0, factor: 1e-6 },
      { head: 'MB/s', figure: 'bytesPerSecond', digits: 0, factor: 1e-6, short: true },
      { head: 'exchanges/CPU-s', figure: 'exchangesPerCpuSecond', digits: 0, short: true },
      to('haproxy', 'HAProxy (bulk)', 'bytesPerCpuSecond'),
      to('envoy', 'Envoy (bulk)', 'bytesPerCpuSecond'),
      to('haproxy', 'HAProxy (exchanges)', 'exchangesPerCpuSecond'),
    ],
  },
  storm: {
    title: 'new connections, one request each',
    protocol: storm,
    timing: { rounds: 2, seconds: 4, warmupSeconds: 3, connections: 16 },
    columns: [
      { head: 'CPU us/connection', figure: 'cpuUsPerConnection', digits: 0 },
      { head: 'connections/CPU-s', figure: 'connectionsPerCpuSecond', digits: 0 },
      { head: 'connections/s', figure: 'connectionsPerSecond', digits: 0, short: true },
      { head: 'resumed %', figure: 'resumedShare', digits: 0, factor: 100, short: true },
      to('envoy', 'Envoy', 'connectionsPerCpuSecond'),
    ],
  },
  latency: {
    title: `latency at ${pacedPerSecond} requests/s, open loop, in us from the moment a request was due`,
    protocol: latency,
    timing: { rounds: 3, seconds: 10, warmupSeconds: 4, connections: 16 },
    columns: [
      us('p50'),
      us('p90'),
      us('p99'),
      us('p999'),
      { head: 'added p50', figure: 'added-p50Us', digits: 0 },
      { head: 'added p99', figure: 'added-p99Us', digits: 0 },
      to('envoy', 'Envoy (added p99)', 'added-p99Us'),
      us('lagP99', 'generator late p99'),
    ],
  },
  errors: {
    title: '5,000 requests/s, open loop, one try in five fails, retries and breakers on',
    protocol: withErrors,
    timing: { rounds: 2, seconds: 10, warmupSeconds: 4, connections: 50 },
    columns: [
      { head: 'event loop late ms (p99)', figure: 'loopDelayP99Seconds', digits: 1, factor: 1000 },
      us('p50'),
      us('p99'),
      { head: 'failed %', figure: 'failedShare', digits: 2, factor: 100, short: true },
      { head: 'CPU us/request', figure: 'cpuUsPerRequest', digits: 1 },
      to('envoy', 'Envoy (p99)', 'p99Us'),
    ],
  },
  memory: {
    title: `memory of one sidecar, idle and at ${pacedPerSecond} requests/s (highest of the window), MB`,
    protocol: memoryAtRate,
    timing: { rounds: 1, seconds: 8, warmupSeconds: 5, connections: 50 },
    columns: [
      mb('idle RSS', 'idleRssBytes'),
      mb('PSS', 'idlePssBytes'),
      mb('USS', 'idleUssBytes'),
      mb('loaded RSS', 'rssBytes'),
      mb('PSS', 'pssBytes'),
      mb('USS', 'ussBytes'),
      to('envoy', 'Envoy (RSS)', 'rssBytes'),
      to('envoy', '(PSS)', 'pssBytes'),
      to('envoy', '(USS)', 'ussBytes'),
    ],
  },
  idle: {
    title: 'memory of an idle connection',
    protocol: idle,
    timing: { rounds: 1, seconds: 2, warmupSeconds: 3, connections: 50 },
    columns: [
      { head: 'KiB RSS', figure: 'bytesPerConnection', digits: 1, factor: 1 / 1024 },
      { head: 'KiB USS', figure: 'ussBytesPerConnection', digits: 1, factor: 1 / 1024 },
      mb('RSS MB with all', 'rssBytes'),
      { head: 'connections', figure: 'connections', digits: 0, short: true },
      to('envoy', 'Envoy', 'bytesPerConnection'),
    ],
  },
  start: {
    title: 'from the start of the process to the first answer (median of five starts)',
    protocol: startToServing,
    timing: { rounds: 1, seconds: 1, warmupSeconds: 1, connections: 1 },
    columns: [
      { head: 'ms', figure: 'startMs', digits: 0 },
      { head: 'slowest', figure: 'startMsMax', digits: 0, short: true },
      { head: 'CPU ms', figure: 'startCpuMs', digits: 0, short: true },
      to('envoy', 'Envoy', 'startMs'),
    ],
  },
}
