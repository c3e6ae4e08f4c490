import type { Clock } from '../base/clock.ts'
import type { Exchange } from '../base/exchange.ts'

/** Waits within an exchange. Rejects with the reason when the exchange, or what it waits for, is ended. */
export function wait(clock: Clock, exchange: Exchange, ms: number): Promise<void> {
  if (exchange.cancelled !== undefined) return Promise.reject(exchange.cancelled)
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => {
      exchange.waiting = undefined
      resolve()
    })
    exchange.waiting = (reason) => {
      timer.cancel()
      reject(reason)
    }
  })
}
