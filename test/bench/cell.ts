import type { Clock } from '../../src/base/clock.ts'
import type { Target } from './load.ts'
import type { Processes, Started } from './processes.ts'
import type { Tools } from './tools.ts'

/** Cells of one group are measured under the same conditions and may be compared. */
export type Group = 'plain' | 'tls' | 'two-hop' | 'memory'

/** One line of the table: a proxy under one load. */
export interface Cell {
  readonly name: string
  readonly group: Group
  readonly about: string
  /** The cells that this one is compared with: like with like, so bare with bare and featured with featured. */
  readonly envoy?: string
  readonly httpProxy3?: string
  /** Traced cells must have delivered spans to the sink, or they did less work than they claim. */
  readonly traced: boolean
  start(bench: Bench): Promise<Running>
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
  /** The processes whose CPU time and memory count. Empty for the direct cell. */
  readonly measured: readonly Started[]
  /** All that must run for the cell, measured or not. */
  readonly started: readonly Started[]
}

/** Every cell gets the same request, whether its proxy looks at these headers or not. */
export const headers = { Host: 'backend.bench', 'x-tenant': 'bench' } as const

/** The URL of that request at a port of ours. */
export function urlAt(port: number): string {
  return `http://127.0.0.1:${port}/bench/item`
}
