/** An opaque connection with its bytes counted and its life recorded. */
import type { Duplex } from 'node:stream'
import type { Exchange } from './base/exchange.ts'
import type { Runtime } from './runtime.ts'
import { relay } from './tcp/relay.ts'

/** Envoy's tcp_proxy idle timeout. */
const tcpIdleTimeoutMs = 3_600_000

export async function relayTcp(
  runtime: Runtime,
  direction: 'outbound' | 'inbound',
  exchange: Exchange,
  client: Duplex,
  upstream: Duplex,
  heads: { readonly a?: Buffer | undefined; readonly b?: Buffer | undefined },
): Promise<void> {
  const attempt = exchange.attempts.at(-1)
  const identity = direction === 'inbound' ? (exchange.downstream.identity ?? '') : (attempt?.identity ?? '')
  const counted = runtime.telemetry.tcpOpened(
    direction,
    exchange.service,
    identity,
    attempt?.workload,
    attempt?.revision,
  )
  try {
    await relay(client, upstream, {
      clock: runtime.clock,
      idleTimeoutMs: tcpIdleTimeoutMs,
      heads,
      onBytes: (way, bytes) => (way === 'a-to-b' ? counted.relayed(bytes, 0) : counted.relayed(0, bytes)),
    })
  } finally {
    counted.closed()
  }
}
