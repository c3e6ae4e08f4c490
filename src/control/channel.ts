import { createSecureContext } from 'node:tls'
import { ChannelCredentials, Client } from '@grpc/grpc-js'
import { controlPlaneWorkload } from '../base/spiffe.ts'
import { verifyPeer } from '../identity/peer.ts'

export interface ChannelOptions {
  /** host:port of the control plane's stream listener. */
  readonly address: string
  /** Roots that the control plane is checked against: the pinned file, later the bundle. */
  readonly trustBundlePem: string
  /** Undefined before the first enrolment. */
  readonly trustDomain: string | undefined
  /** Own certificate; undefined: a client that only has a token. */
  readonly own: { readonly privateKeyPem: string; readonly certificateChainPem: string } | undefined
}

/**
 * A connection of its own to the control plane: TLS 1.3, the roots pinned, the peer's SPIFFE id checked. Close it.
 * Keepalive finds a half-open connection within 12 s (reliability F3 asks for 15).
 */
export function openChannel(options: ChannelOptions): Client {
  const context = createSecureContext({
    ca: options.trustBundlePem,
    key: options.own?.privateKeyPem,
    cert: options.own?.certificateChainPem,
    minVersion: 'TLSv1.3',
  })
  const credentials = ChannelCredentials.createFromSecureContext(context, {
    checkServerIdentity: (_host, peer) => {
      try {
        verifyPeer(peer.raw, { trustDomain: options.trustDomain, workload: controlPlaneWorkload, use: 'server' })
        return undefined
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error))
      }
    },
  })
  return new Client(options.address, credentials, {
    // The peer is known by its SPIFFE id, not by a name; SNI may not be an IP address (RFC 6066 section 3).
    'grpc.ssl_target_name_override': 'control-plane.outrigger',
    'grpc.keepalive_time_ms': 8_000,
    'grpc.keepalive_timeout_ms': 4_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.enable_channelz': 0,
    // Retries are ours (with jitter and a reason in the log); the pool is not shared, so that close closes.
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.service_config_disable_resolution': 1,
    // Never by way of a proxy from the environment: the application's http_proxy may be this very sidecar.
    'grpc.enable_http_proxy': 0,
  })
}

/** The largest message either end takes; the server cuts its deltas far below. */
export const messageBytesMax = 16 * 1_048_576
