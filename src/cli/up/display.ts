import type { Check } from './checks.ts'
import type { TrafficRow } from './traffic-rows.ts'

/** What the client saw since the last look. */
export interface ClientView {
  readonly requestsPerSecond: number
  readonly successPercent: number | undefined
  readonly p50Ms: number
  readonly p99Ms: number
}

/** One picture of the mesh. */
export interface Picture {
  readonly rows: readonly TrafficRow[]
  readonly client: ClientView | undefined
  /** Revision of policy that the control plane has published; 0 before the first. */
  readonly revision: number
  readonly sidecars: number
  readonly connected: number
  /** `canary: split` of a scenario; empty without one. */
  readonly phase: string
  /** Problems of documents that are not in force now, each with its place. */
  readonly refused: readonly string[]
}

/** Where a run of `up` is shown. Pictures and results are data and go to stdout. */
export interface Display {
  /** Seconds between two pictures. */
  readonly everySeconds: number
  /** Start and end of the mesh. */
  progress(line: string): void
  /** Something happened: policy came into force or was refused, a process died. */
  event(line: string): void
  picture(picture: Picture): void
  result(title: string, checks: readonly Check[]): void
}

/** The display for this stdout and the wanted form. */
export async function openDisplay(form: 'text' | 'json', wallMs: () => number): Promise<Display> {
  if (form === 'json') return new (await import('./json-display.ts')).JsonDisplay(wallMs)
  if (process.stdout.isTTY) return new (await import('./live-display.ts')).LiveDisplay(wallMs)
  return new (await import('./plain-display.ts')).PlainDisplay(wallMs)
}
