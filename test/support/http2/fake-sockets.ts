/** Connections in memory for the HTTP/2 engine, the far end in the test's hands. No port, no kernel: time is the test's. */
import type net from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { MeshError } from '../../../src/base/errors.ts'
import { readBuffer } from '../../../src/http1/writer.ts'
import type { DialOptions } from '../../../src/upstream/connect.ts'
import type { Dialer } from '../../../src/upstream/pool.ts'
import { settle } from '../fake-clock.ts'
import { RawHttp2 } from './raw.ts'

/** Our end, and that of the peer. When either is destroyed both are. */
export function socketPair(): readonly [ours: net.Socket, theirs: net.Socket] {
  const [ours, theirs] = duplexPair({ allowHalfOpen: true }) as [Duplex, Duplex]
  for (const [one, other] of [
    [ours, theirs],
    [theirs, ours],
  ] as const) {
    one.on('error', () => {})
    one.once('close', () => other.destroy())
  }
  return [ours as net.Socket, theirs as net.Socket]
}

/** Long enough for bytes to get to and fro. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 8; i++) await settle()
}

export interface Http2Dial {
  readonly options: DialOptions
  /** The server's end of it. */
  readonly peer: RawHttp2
  readonly socket: net.Socket
  connect(): Promise<void>
  fail(): Promise<void>
}

/** Each dial waits for the test. */
export class Http2Dialer implements Dialer {
  readonly dials: Http2Dial[] = []
  /** Dials succeed at once, and their peers say this. */
  greeting: Buffer | undefined
  /** Peers end their side when ours has ended. */
  peersEnd = true

  dial(_to: unknown, options: DialOptions): Promise<net.Socket> {
    const [ours, theirs] = socketPair()
    const peer = new RawHttp2(theirs, 'server')
    // Its own SETTINGS must come first, and the test says when.
    peer.polite = false
    // As a socket that dials does: into the shared buffer, and what has ended at one side ends.
    ours.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += readBuffer.length)
        options.onread!.callback(chunk.copy(readBuffer, 0, at), readBuffer)
    })
    ours.on('end', () => ours.end())
    theirs.on('end', () => this.peersEnd && theirs.end())
    return new Promise((resolve, reject) => {
      const dial: Http2Dial = {
        options,
        peer,
        socket: ours,
        connect: () => {
          resolve(ours)
          return settled()
        },
        fail: () => {
          reject(new MeshError('UPSTREAM_CONNECT', 'refused', { unsent: true }))
          return settled()
        },
      }
      this.dials.push(dial)
      if (this.greeting !== undefined) {
        peer.send(this.greeting)
        resolve(ours)
      }
    })
  }
}
