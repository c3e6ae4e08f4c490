import { create } from '@bufbuild/protobuf'
import { DeltaSchema, type ServerMessage } from '../../src/api/gen/outrigger_pb.ts'
import { serverMessage, watchMethod } from '../../src/api/services.ts'

export interface DeltaContent {
  readonly nonce: string
  readonly revision: bigint
  readonly upserts: readonly Uint8Array[]
  readonly removes: readonly string[]
}

interface Shared {
  readonly message: ServerMessage
  bytes: Buffer | undefined
}

/** Different deltas of one revision that are remembered; more are made one by one. */
const sharedMax = 1_000

/**
 * The messages of deltas. What changes for many sidecars at once is one message for all of them, encoded once: that is a
 * third of what it costs to tell one of them.
 */
export class DeltaMessages {
  readonly #numbers = new WeakMap<Uint8Array, number>()
  #nextNumber = 0
  #revision = -1n
  #byContent = new Map<string, Shared>()
  #byMessage = new WeakMap<ServerMessage, Shared>()

  delta(content: DeltaContent): ServerMessage {
    const { nonce, revision, upserts, removes } = content
    if (revision !== this.#revision) this.#byContent.clear()
    this.#revision = revision
    // Names of what is gone are seldom the same for many, and a key of them would be long.
    if (removes.length > 0 || this.#byContent.size >= sharedMax) return message(content)
    const key = `${nonce} ${upserts.map((bytes) => this.#numberOf(bytes)).join()}`
    let shared = this.#byContent.get(key)
    if (shared === undefined) {
      shared = { message: message(content), bytes: undefined }
      this.#byContent.set(key, shared)
      this.#byMessage.set(shared.message, shared)
    }
    return shared.message
  }

  /** For the server, in the place of `watchMethod.responseSerialize`. */
  readonly serialize = (message: ServerMessage): Buffer => {
    const shared = this.#byMessage.get(message)
    if (shared === undefined) return watchMethod.responseSerialize(message)
    shared.bytes ??= watchMethod.responseSerialize(message)
    return shared.bytes
  }

  /** A resource is encoded once, so its bytes are one object, and another one once it has changed. */
  #numberOf(bytes: Uint8Array): number {
    let number = this.#numbers.get(bytes)
    if (number === undefined) this.#numbers.set(bytes, (number = this.#nextNumber++))
    return number
  }
}

function message({ nonce, revision, upserts, removes }: DeltaContent): ServerMessage {
  const value = create(DeltaSchema, { nonce, revision, upserts: [...upserts], removes: [...removes] })
  return serverMessage({ case: 'delta', value })
}
