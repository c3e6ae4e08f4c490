import { createHash } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { DeltaSchema } from '../api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { type Log, messageOf } from '../base/log.ts'
import type { StateFolder } from '../base/state-folder.ts'

export interface SavedPolicy {
  readonly revision: bigint
  /** Each an encoded Resource. */
  readonly resources: readonly Uint8Array[]
}

const fileName = 'policy.bin'
/** The first line: what it is, the version of the layout, SHA-256 of all that follows it. */
const headPattern = /^outrigger-policy (\d+) ([0-9a-f]{64})\n/
const layoutVersion = 1

// An edit changes several resources in one go, a rollout many endpoints: one write serves them all.
const debounceMs = 500

/** The last good policy on disk: what a sidecar starts on when there is no control plane. */
export class LastGood {
  readonly #clock: Clock
  readonly #log: Log
  readonly #state: StateFolder
  #pending: (() => SavedPolicy) | undefined
  #timer: Timer | undefined
  #writing: Promise<void> = Promise.resolve()
  #failed = false

  constructor(options: { readonly clock: Clock; readonly log: Log; readonly state: StateFolder }) {
    this.#clock = options.clock
    this.#log = options.log
    this.#state = options.state
  }

  /** What was saved; undefined when nothing was or when it is damaged (which is logged). At start only: it blocks. */
  load(): SavedPolicy | undefined {
    try {
      const bytes = this.#state.readSync(fileName)
      return bytes === undefined ? undefined : decode(bytes)
    } catch (error) {
      this.#log.warn(`the last good policy is not used: ${messageOf(error)}`)
      return undefined
    }
  }

  /** Writes what `snapshot` returns, a little later; only the newest counts. */
  save(snapshot: () => SavedPolicy): void {
    this.#pending = snapshot
    this.#timer ??= this.#clock.after(debounceMs, () => {
      this.#timer = undefined
      this.#writing = this.#writing.then(() => this.#write())
    })
  }

  /** Writes at once what waits. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#writing
    await this.#write()
  }

  /** Never rejects: a full disk costs the copy, not the policy in memory. */
  async #write(): Promise<void> {
    const snapshot = this.#pending
    if (snapshot === undefined) return
    this.#pending = undefined
    try {
      await this.#state.write(fileName, encode(snapshot()))
      this.#failed = false
    } catch (error) {
      if (!this.#failed) this.#log.warn(`the last good policy is kept in memory only: ${messageOf(error)}`)
      this.#failed = true
    }
  }
}

function encode(saved: SavedPolicy): Buffer {
  const body = toBinary(DeltaSchema, create(DeltaSchema, { revision: saved.revision, upserts: [...saved.resources] }))
  const sum = createHash('sha256').update(body).digest('hex')
  return Buffer.concat([Buffer.from(`outrigger-policy ${layoutVersion} ${sum}\n`, 'latin1'), body])
}

function decode(bytes: Buffer): SavedPolicy {
  const head = headPattern.exec(bytes.toString('latin1', 0, 128))
  if (head === null) throw new Error(`${fileName} is damaged`)
  if (head[1] !== String(layoutVersion)) throw new Error(`${fileName} was written by another version of the program`)
  const body = bytes.subarray(head[0].length)
  if (createHash('sha256').update(body).digest('hex') !== head[2]) throw new Error(`${fileName} is damaged`)
  const delta = fromBinary(DeltaSchema, body)
  return { revision: delta.revision, resources: delta.upserts }
}
