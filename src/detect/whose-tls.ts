import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { type ClientHello, clientHello, type NoClientHello } from './client-hello.ts'
import { firstBytes } from './first-bytes.ts'

/** `application`: TLS of its own, with `head` as of a peek. `late`: the ClientHello did not come to its end. */
export type WhoseTls =
  | { readonly is: 'sidecar' }
  | { readonly is: 'application'; readonly head: Buffer }
  | { readonly is: 'late' }
  | { readonly is: 'gone' }

const nothing: Buffer = Buffer.alloc(0)

/**
 * Where callers may come with or without a sidecar: whose a connection is that begins as TLS does. Sidecars offer a protocol
 * of their own to each other (ALPN), which nobody else does. `bytes`: what a peek has seen and put back.
 */
export async function whoseTls(
  socket: Duplex,
  bytes: Buffer,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<WhoseTls> {
  const found = clientHello(bytes)
  if (found !== undefined) return ownerOf(found)
  const more = await firstBytes(socket, { clock, timeoutMs, judge: clientHello })
  if (more.is === 'judged') return ownerOf(more.verdict)
  return more.is === 'ended' ? { is: 'application', head: more.bytes } : { is: more.is }
}

function ownerOf(hello: ClientHello | NoClientHello): WhoseTls {
  const isSidecar = hello.is === 'hello' && hello.protocols.some((name) => name.startsWith('outrigger/'))
  return isSidecar ? { is: 'sidecar' } : { is: 'application', head: nothing }
}
