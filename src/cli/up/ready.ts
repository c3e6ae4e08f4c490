import { connect } from 'node:net'
import { request } from 'undici'
import { type Clock, sleep } from '../../base/clock.ts'

/** Something that must answer before traffic is sent. */
export interface Readiness {
  readonly name: string
  readonly check: () => Promise<boolean>
}

/** True when the address answers GET with 200. */
export function answersOk(url: string): () => Promise<boolean> {
  return async () => {
    try {
      const { statusCode, body } = await request(url, { headersTimeout: 1_000, bodyTimeout: 1_000 })
      await body.dump()
      return statusCode === 200
    } catch {
      // Not listening yet is the ordinary case here; what went wrong for good is in the log of the process.
      return false
    }
  }
}

/** True when the address takes connections. */
export function takesConnections(host: string, port: number): () => Promise<boolean> {
  return () =>
    new Promise((resolve) => {
      const socket = connect({ host, port, timeout: 1_000 })
      const end = (isOpen: boolean): void => {
        socket.destroy()
        resolve(isOpen)
      }
      socket.once('connect', () => end(true))
      socket.once('timeout', () => end(false))
      socket.once('error', () => end(false))
    })
}

/**
 * Asks all of them again and again until each has said yes once. Resolves with the names of those that had not within
 * `timeoutMs`. `onReady` hears each as it comes.
 */
export async function waitForAll(
  all: readonly Readiness[],
  timeoutMs: number,
  clock: Clock,
  onReady: (name: string, left: number) => void,
): Promise<readonly string[]> {
  const deadline = clock.now() + timeoutMs
  let left = [...all]
  for (;;) {
    const answers = await Promise.all(left.map(({ check }) => check()))
    const still = left.filter((_, i) => answers[i] !== true)
    for (const [i, { name }] of left.entries()) if (answers[i] === true) onReady(name, still.length)
    left = still
    if (left.length === 0 || clock.now() >= deadline) return left.map(({ name }) => name)
    await sleep(clock, askAgainMs)
  }
}

const askAgainMs = 100
