/** What the probes of the application have in common, whatever they speak. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'

/** What of the kubelet's own request matters. */
export interface ProbeCall {
  /** The address that it dialled, which is the Pod's: the application is asked there, not on loopback. */
  readonly address: string
  readonly headers: IncomingHttpHeaders
}

/** `status` is for the kubelet: an application's own where it answered. `reason` is for people. */
export interface ProbeResult {
  readonly status: number
  readonly reason: string
}

/** Opens a connection to the application that capture leaves alone. */
export type Dial = (address: string, port: number) => Socket

/** What ends a probe before its answer. */
export class ProbeFailure extends Error {
  readonly status: number

  constructor(status: number, reason: string) {
    super(reason)
    this.status = status
  }
}
