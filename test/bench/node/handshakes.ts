/**
 * New mTLS connections one after another: `handshakes.ts JSON` opens them for some seconds, sends one request on each,
 * closes it, and prints counts as JSON. With `resume` each offers the last session that the peer gave.
 */
import type { TLSSocket } from 'node:tls'
import { systemClock } from '../../../src/base/clock.ts'
import { Client, type ClientOptions } from './client.ts'

export interface HandshakeOptions extends ClientOptions {
  readonly concurrency: number
  readonly seconds: number
  readonly resume: boolean
}

export interface HandshakeCounts {
  readonly connections: number
  /** Of these the peer took the offered session. */
  readonly resumed: number
  readonly failed: number
  readonly firstFailure: string | undefined
}

async function run(options: HandshakeOptions): Promise<HandshakeCounts> {
  const client = new Client(options)
  const until = systemClock.now() + options.seconds * 1000
  let [connections, resumed, failed] = [0, 0, 0]
  let firstFailure: string | undefined
  let session: Buffer | undefined
  const keep = (given: Buffer): void => {
    session = given
  }
  const one = async (): Promise<void> => {
    try {
      const socket = (await client.open(options.resume ? session : undefined, keep)) as TLSSocket
      connections += 1
      if (socket.isSessionReused()) resumed += 1
      socket.on('error', () => undefined)
      socket.destroy()
    } catch (error) {
      failed += 1
      firstFailure ??= error instanceof Error ? error.message : String(error)
    }
  }
  const loop = async (): Promise<void> => {
    while (systemClock.now() < until) await one()
  }
  await Promise.all(Array.from({ length: options.concurrency }, loop))
  return { connections, resumed, failed, firstFailure }
}

if (import.meta.main) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(process.argv[2] ?? '{}') as HandshakeOptions))}\n`)
}
