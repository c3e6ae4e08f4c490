/** Who waits for a connection of one pool, in the order in which they came. */
import type { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import type { PoolShare } from './pool-share.ts'
import { unsent } from './tries.ts'

export interface Waiter {
  readonly exchange: Exchange
  readonly lines: string
  /** It was sent before, and lost. */
  readonly again: boolean
  readonly resolve: (response: Promise<Response>) => void
  readonly reject: (error: MeshError) => void
  readonly stop: (reason: MeshError) => void
}

export class WaitingLine {
  readonly #waiters: Waiter[] = []
  /** The part of other threads; undefined where there are none. */
  readonly #share: PoolShare | undefined

  constructor(share: PoolShare | undefined) {
    this.#share = share
  }

  get length(): number {
    return this.#waiters.length
  }

  /** Who waits longest. */
  get first(): Waiter | undefined {
    return this.#waiters[0]
  }

  /** The promise follows that of the try that is made at last; the exchange may stop waiting. */
  join(exchange: Exchange, lines: string, again = false): Promise<Response> {
    return new Promise<Response>((resolve, reject) => {
      const stop = (reason: MeshError): void => {
        const at = this.#waiters.indexOf(waiter)
        if (at !== -1) {
          this.#waiters.splice(at, 1)
          this.#left()
        }
        reject(unsent(reason))
      }
      const waiter: Waiter = { exchange, lines, again, resolve, reject, stop }
      exchange.waiting = stop
      this.#waiters.push(waiter)
      this.#share?.waits()
    })
  }

  /** Takes who waits longest out of the line. */
  next(): Waiter | undefined {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) this.#left()
    return waiter
  }

  /** Refuses who waits longest; false: nobody waits. */
  refuseNext(error: MeshError): boolean {
    const waiter = this.next()
    if (waiter === undefined) return false
    if (waiter.exchange.waiting === waiter.stop) waiter.exchange.waiting = undefined
    waiter.reject(error)
    return true
  }

  refuseAll(error: MeshError): void {
    while (this.refuseNext(error));
  }

  #left(): void {
    const share = this.#share
    if (share === undefined) return
    share.waited()
    if (this.#waiters.length === 0) share.sated()
  }
}
