/** What the process and its threads say to each other. All of it survives a structured clone. */
import type { Stats } from '../admin/stats.ts'
import type { Transition } from '../balance/breaker.ts'
import type { Ejection } from '../balance/outlier.ts'
import type { LogFields, LogLevel } from '../base/log.ts'
import type { SharedMemory } from '../base/shared-table.ts'
import type { BackendsReport, Way } from '../data-plane.ts'
import type { Credentials } from '../identity/credentials.ts'
import type { HostPort, ProxyOptions } from '../options.ts'
import type { Counted } from '../telemetry/merged.ts'

/** What a thread is given when it is made. */
export interface ThreadStart {
  /** From 0. */
  readonly thread: number
  readonly options: ProxyOptions
  readonly memory: SharedMemory
  /** `clockOrigin()` of the process. */
  readonly origin: number
  /** BroadcastChannel on which the threads speak of pools. */
  readonly channel: string
  readonly logLevel: LogLevel
}

/** Name, and the resource encoded; null: it is known not to exist. */
export type PolicyChange = readonly [name: string, resource: Uint8Array | null]

export type Addresses = readonly (readonly [name: string, at: HostPort])[]

/** Everything that a thread has counted, and what runs in it. */
export interface ThreadReport {
  readonly stats: Stats
  readonly counted: Counted
  readonly backends: BackendsReport
}

/** A question, and what answers it. */
export interface Questions {
  /** Ports that others have bound are in the addresses. Rejects with one line that names the remedy. */
  listen: { readonly ask: { readonly addresses: Addresses }; readonly answer: Addresses }
  report: { readonly ask: object; readonly answer: ThreadReport }
  drain: { readonly ask: { readonly way: Way; readonly timeoutMs: number }; readonly answer: null }
  /** Everything is ended; what is left of log lines and spans is sent before the answer. */
  close: { readonly ask: object; readonly answer: ThreadReport }
}

export type Question = keyof Questions

export type ToThread =
  | { readonly is: 'question'; readonly id: number; readonly what: Question; readonly ask: unknown }
  /** Changes that belong together. */
  | { readonly is: 'policy'; readonly serial: number; readonly changes: readonly PolicyChange[] }
  | { readonly is: 'credentials'; readonly credentials: Credentials | undefined }
  | { readonly is: 'reserve'; readonly name: string; readonly at: HostPort }
  | { readonly is: 'retire' }
  | { readonly is: 'log-level'; readonly level: LogLevel }
  /** The lines with that id are out, or `error` says why not. */
  | { readonly is: 'written'; readonly id: number; readonly error: string | undefined }

export type FromThread =
  | { readonly is: 'answer'; readonly id: number; readonly answer: unknown; readonly error: string | undefined }
  | { readonly is: 'watch'; readonly name: string; readonly wanted: boolean }
  /** All policy up to that serial is in force here. */
  | { readonly is: 'applied'; readonly serial: number }
  | { readonly is: 'transition'; readonly transition: Transition }
  | { readonly is: 'ejection'; readonly ejection: Ejection }
  | {
      readonly is: 'log'
      readonly level: LogLevel
      readonly name: string
      readonly message: string
      readonly fields: LogFields
    }
  /** Whole lines of the access log. */
  | { readonly is: 'lines'; readonly id: number; readonly bytes: Uint8Array }
  /** Last words. */
  | { readonly is: 'dying'; readonly report: ThreadReport; readonly error: Error }
