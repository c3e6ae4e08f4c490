import { toBinary } from '@bufbuild/protobuf'
import { type Resource, ResourceSchema } from '../api/gen/outrigger_pb.ts'
import type { PolicySource } from '../control/policy-source.ts'
import type { PolicyChange } from './protocol.ts'

/** In the process: carries to one thread what that wants of the policy in force, in the order in which it was accepted. */
export class PolicyFeed {
  readonly #source: PolicySource
  readonly #send: (serial: number, changes: readonly PolicyChange[]) => void
  readonly #watching = new Map<string, Disposable>()
  readonly #waiting: { readonly serial: number; readonly resolve: () => void }[] = []
  #pending: PolicyChange[] = []
  #serial = 0
  #applied = 0

  constructor(source: PolicySource, send: (serial: number, changes: readonly PolicyChange[]) => void) {
    this.#source = source
    this.#send = send
  }

  watch(name: string, wanted: boolean): void {
    this.#watching.get(name)?.[Symbol.dispose]()
    this.#watching.delete(name)
    if (!wanted) return
    this.#watching.set(
      name,
      this.#source.watch(name, (resource) => this.#changed(name, resource)),
    )
  }

  applied(serial: number): void {
    this.#applied = serial
    while (this.#waiting.length > 0 && this.#waiting[0]!.serial <= serial) this.#waiting.shift()!.resolve()
  }

  /** Nothing that the process has accepted is still on its way. */
  get settled(): boolean {
    return this.#applied === this.#serial
  }

  /** Resolves when all that is accepted by now is in force in the thread, or the thread is gone. */
  whenSettled(): Promise<void> {
    if (this.settled) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ serial: this.#serial, resolve }))
  }

  close(): void {
    for (const watching of this.#watching.values()) watching[Symbol.dispose]()
    this.#watching.clear()
    this.applied(this.#serial)
  }

  /** What changes in one turn of the event loop travels together. */
  #changed(name: string, resource: Resource | undefined): void {
    if (this.#pending.length === 0) {
      this.#serial++
      queueMicrotask(() => {
        const changes = this.#pending
        this.#pending = []
        this.#send(this.#serial, changes)
      })
    }
    this.#pending.push([name, resource === undefined ? null : encoded(resource)])
  }
}

/** Encoded once for all threads. */
const encodings = new WeakMap<Resource, Uint8Array>()

function encoded(resource: Resource): Uint8Array {
  let bytes = encodings.get(resource)
  if (bytes === undefined) encodings.set(resource, (bytes = toBinary(ResourceSchema, resource)))
  return bytes
}
