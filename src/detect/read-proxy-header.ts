import type { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.ts'
import { firstBytes } from './first-bytes.ts'
import { type NoProxyHeader, type ProxyHeader, proxyHeader } from './proxy-header.ts'

/** `gone`: the connection died, or ended without a byte, as a load balancer's plain health check does. */
export type ProxyHeaderRead = ProxyHeader | NoProxyHeader | { readonly is: 'gone' }

/**
 * Takes the PROXY header off the front of a connection, which is left paused with the bytes behind it back in it. Never
 * rejects.
 */
export async function readProxyHeader(
  socket: Duplex,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<ProxyHeaderRead> {
  const first = await firstBytes(socket, { clock, timeoutMs, judge: proxyHeader, used: headerBytes })
  switch (first.is) {
    case 'judged':
      return first.verdict
    case 'late':
      return { is: 'refused', reason: `its PROXY header is not here after ${timeoutMs} ms` }
    case 'ended':
      return first.bytes.length === 0 ? { is: 'gone' } : { is: 'refused', reason: 'it ends within its PROXY header' }
    default:
      return { is: 'gone' }
  }
}

function headerBytes(verdict: ProxyHeader | NoProxyHeader): number {
  return verdict.is === 'header' ? verdict.bytes : 0
}
