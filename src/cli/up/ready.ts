import { connect } from 'node:net'
import { request } from 'undici'
import { type Clock, sleep } from '../../base/clock.ts'

/** Something that must answer before traffic is sent. */
export interface Readiness {
  readonly name: string
  /** Why it is not ready; undefined when it is. */
  readonly check: () => Promise<string | undefined>
}

/** Ready when the address answers GET with 200; until then the answer says why not. */
export function answersOk(url: string): () => Promise<string | undefined> {
  return async () => {
    try {
      const { statusCode, body } = await request(url, { headersTimeout: 1_000, bodyTimeout: 1_000 })
      const text = await body.text()
      return statusCode === 200 ? undefined : text.trim() || `${url} answers ${statusCode}`
    } catch (error) {
      return `${url}: ${error instanceof Error ? error.message : String(error)}`
    }
  }
}

/** Ready when the address takes connections. */
export function takesConnections(host: string, port: number): () => Promise<string | undefined> {
  return () =>
    new Promise((resolve) => {
      const socket = connect({ host, port, timeout: 1_000 })
      const end = (why?: string): void => {
        socket.destroy()
        resolve(why)
      }
      socket.once('connect', () => end())
      socket.once('timeout', () => end(`${host}:${port} does not answer`))
      socket.once('error', (error) => end(error.message))
    })
}

/**
 * Asks all of them again and again until each has said yes once. Resolves with those that had not within `timeoutMs`,
 * each as `name: why`. `onReady` hears each as it comes.
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
    const whys = answers.filter((why) => why !== undefined)
    const still = left.filter((_, i) => answers[i] !== undefined)
    for (const [i, { name }] of left.entries()) if (answers[i] === undefined) onReady(name, still.length)
    left = still
    if (left.length === 0 || clock.now() >= deadline) return left.map(({ name }, i) => `${name}: ${whys[i]}`)
    await sleep(clock, askAgainMs)
  }
}

const askAgainMs = 100
