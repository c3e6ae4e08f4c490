/** Sidecars are spread over the replicas of the control plane; the one that writes status asks the others about theirs. */
import { createSecureContext } from 'node:tls'
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js'
import type { Document } from '../../src/api/documents/document.ts'
import type { AcksRequest, AcksResponse } from '../../src/api/gen/outrigger_pb.ts'
import { serviceNameLabel } from '../../src/api/policy/endpoint-slice.ts'
import { acksMethod } from '../../src/api/services.ts'
import type { Clock } from '../../src/base/clock.ts'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { verifyPeer } from '../../src/base/peer.ts'
import { controlPlaneWorkload } from '../../src/base/spiffe.ts'
import type { ServerCertificate, ServerCertificatePem } from '../identity/server-certificate.ts'

export interface PeersOptions {
  readonly clock: Clock
  readonly log: Log
  /** Ours: how we prove to others that we are a replica, and they to us. */
  readonly certificate: ServerCertificate
  readonly trustDomain: string
  /** Namespace of the control plane. */
  readonly namespace: string
  /** Name of this replica: its Pod's. */
  readonly replica: string
  /** Port of the stream, the same on each. */
  readonly port: number
}

/** Another replica, as the EndpointSlices of the control plane's Service have it. */
export interface Replica {
  readonly name: string
  readonly address: string
  /** False: it is starting or ending, and may not answer. */
  readonly isReady: boolean
}

/** What the others said, and who said nothing. */
export interface PeerAnswers {
  readonly answers: readonly AcksResponse[]
  readonly unasked: readonly string[]
}

const answerMs = 2_000
const messageBytesMax = 16 * 1_048_576

interface Connection {
  readonly client: Client
  readonly pem: ServerCertificatePem
}

export class Peers {
  readonly #options: PeersOptions
  readonly #log: Log
  readonly #connections = new Map<string, Connection>()
  #told = ''

  constructor(options: PeersOptions) {
    this.#options = options
    this.#log = options.log.named('peers')
  }

  /** Never rejects: a replica that does not answer within 2 s is named. */
  async ask(documents: readonly Document[], request: AcksRequest): Promise<PeerAnswers> {
    const { namespace, replica } = this.#options
    const others = otherReplicas(documents, namespace, replica)
    for (const [address, { client }] of this.#connections) {
      if (others.some((other) => other.address === address)) continue
      client.close()
      this.#connections.delete(address)
    }
    const asked = await Promise.all(
      others.map(async (other) => ({ other, answer: await this.#askOne(other, request) })),
    )
    const silent = asked.filter(({ other, answer }) => typeof answer === 'string' && other.isReady)
    this.#tell(silent.map(({ other, answer }) => `${other.name} (${other.address}): ${String(answer)}`))
    return {
      answers: asked.map(({ answer }) => answer).filter((answer) => typeof answer !== 'string'),
      unasked: silent.map(({ other }) => other.name),
    }
  }

  stop(): void {
    for (const { client } of this.#connections.values()) client.close()
    this.#connections.clear()
  }

  /** The answer, or why there is none. */
  #askOne({ address }: Replica, request: AcksRequest): Promise<AcksResponse | string> {
    const { path, requestSerialize, responseDeserialize } = acksMethod
    const deadline = new Date(this.#options.clock.wall() + answerMs)
    return new Promise((resolve) => {
      try {
        const client = this.#clientOf(address)
        const answered = (error: Error | null, response?: AcksResponse): void =>
          resolve(response ?? messageOf(error ?? 'no answer'))
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          new Metadata(),
          { deadline },
          answered,
        )
      } catch (error) {
        resolve(messageOf(error))
      }
    })
  }

  #clientOf(address: string): Client {
    const { certificate, trustDomain, port } = this.#options
    const pem = certificate.current.current
    const known = this.#connections.get(address)
    if (known?.pem === pem) return known.client
    known?.client.close()
    const context = createSecureContext({ ...pem, minVersion: 'TLSv1.3' })
    const credentials = ChannelCredentials.createFromSecureContext(context, {
      checkServerIdentity: (_host, peer) => {
        try {
          verifyPeer(peer.raw, { trustDomain, workload: controlPlaneWorkload, use: 'server' })
          return undefined
        } catch (error) {
          return error instanceof Error ? error : new Error(String(error))
        }
      },
    })
    const client = new Client(`${address.includes(':') ? `[${address}]` : address}:${port}`, credentials, {
      // The peer is known by its SPIFFE id, not by a name.
      'grpc.ssl_target_name_override': 'control-plane.outrigger',
      'grpc.enable_channelz': 0,
      'grpc.enable_retries': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': messageBytesMax,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
    })
    this.#connections.set(address, { client, pem })
    return client
  }

  #tell(lines: readonly string[]): void {
    const text = lines.join('; ')
    if (text !== this.#told && text !== '')
      this.#log.warn(`status counts the sidecars of these replicas not, they do not answer: ${text}`)
    this.#told = text
  }
}

/** The replicas of the control plane but for this one. */
export function otherReplicas(documents: readonly Document[], namespace: string, self: string): Replica[] {
  const found = new Map<string, Replica>()
  for (const document of documents) {
    if (document.kind !== 'EndpointSlice' || document.namespace !== namespace) continue
    if (document.value.metadata.labels?.[serviceNameLabel] !== inSystem.name) continue
    for (const { addresses, conditions, targetRef } of document.value.endpoints) {
      const [address] = addresses
      const name = targetRef?.name ?? address
      if (address === undefined || name === undefined || name === self) continue
      found.set(address, { name, address, isReady: conditions?.ready !== false })
    }
  }
  return [...found.values()]
}
