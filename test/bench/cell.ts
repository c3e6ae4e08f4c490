import type { Clock } from '../../src/base/clock.ts'
import type { Target } from './load.ts'
import type { Processes, Started } from './processes.ts'
import type { Tools } from './tools.ts'

/** Cells of one group are measured by one protocol (groups.ts) and stand in one table. */
export type Group =
  | 'plain'
  | 'sizes'
  | 'tls'
  | 'h2'
  | 'grpc'
  | 'two-hop'
  | 'tax'
  | 'tcp'
  | 'storm'
  | 'latency'
  | 'errors'
  | 'memory'
  | 'idle'
  | 'start'

/** Whom a cell can be compared with. `off` is Outrigger itself without the feature. */
export type Peer = 'envoy' | 'nginx' | 'haproxy' | 'httpProxy3' | 'nodeHttp2' | 'off'

/** One line of a table: a proxy under one load. */
export interface Cell {
  readonly name: string
  readonly group: Group
  readonly about: string
  /** The cells that this one is compared with: like with like, so bare with bare and featured with featured. */
  readonly peers?: Readonly<Partial<Record<Peer, string>>>
  /** The cell without a proxy whose quantiles are taken off this one's, round by round. */
  readonly baseline?: string
  /** Share of the requests that are traced, and spans that one request makes at least; others make no spans. */
  readonly traced?: { readonly share: number; readonly spans: number }
  /** New connections offer the session of the one before. */
  readonly resume?: boolean
  /** Printed below the table: what a figure of it is, or why there is none. */
  readonly note?: string
  /** Starts the programs. May be called more than once in a round; what it started is stopped after the round. */
  start(bench: Bench): Promise<Running>
  /** Where starts are timed: prepares another one of the measured process, and hands back what begins it. */
  readonly again?: (bench: Bench) => Promise<() => Pick<Running, 'target' | 'measured'>>
}

/** What a cell needs to start its programs. */
export interface Bench {
  readonly clock: Clock
  readonly tools: Tools
  readonly processes: Processes
  /** For the measured proxy alone. */
  readonly proxyCpu: number
  /** For generator, backend, sink, control plane and helpers. */
  readonly restCpu: number
  /** Temporary; holds certificates/ and what the programs write. */
  readonly workFolder: string
  /** With a slash at the end: where the peers' configurations lie. */
  readonly folder: string
}

export interface Running {
  readonly target: Target
  /** Further sidecars of the cell that get a share of the load. */
  readonly more?: readonly Target[]
  /** The processes whose CPU time and memory count. Empty for the direct cell. */
  readonly measured: readonly Started[]
  /** All that must run for the cell, measured or not. */
  readonly started: readonly Started[]
  /** What a generator needs to speak mTLS itself: files, and the protocol that it offers. */
  readonly client?: ClientTls
  /** Where a sidecar of ours shows its metrics. */
  readonly metrics?: string
}

export interface ClientTls {
  /** Of the measured proxy, without the helper in between. */
  readonly port: number
  /** Chain and key in one file. */
  readonly pem: string
  readonly alpn: string
}

/** Every cell gets the same request, whether its proxy looks at these headers or not. */
export const headers = { Host: 'backend.bench', 'x-tenant': 'bench' } as const

/** The URL of that request at a port of ours. `item` is what the backend sends: see nginx/backend.conf. */
export function urlAt(port: number, item = 'item'): string {
  return `http://127.0.0.1:${port}/bench/${item}`
}

/** The same target, asked for another item. */
export function withItem(target: Target, item: string): Target {
  return { ...target, url: target.url.replace(/\/bench\/.*$/, `/bench/${item}`) }
}
