import type { Resource } from '../api/gen/outrigger_pb.ts'
import type { Log } from '../base/log.ts'
import type { PolicySource } from '../control/policy-source.ts'
import { decodeResource } from '../control/strict-decode.ts'
import type { PolicyChange } from './protocol.ts'

type Listener = (resource: Resource | undefined) => void

interface Want {
  readonly listeners: Set<Listener>
  known: boolean
  resource: Resource | undefined
}

/** In a thread: the policy that the process has accepted, as far as it is wanted here. */
export class MirrorSource implements PolicySource {
  readonly synced = true
  readonly #tell: (name: string, wanted: boolean) => void
  readonly #log: Log
  readonly #wants = new Map<string, Want>()

  /** `tell` carries a wish to the process. */
  constructor(tell: (name: string, wanted: boolean) => void, log: Log) {
    this.#tell = tell
    this.#log = log
  }

  watch(name: string, listener: Listener): Disposable {
    let want = this.#wants.get(name)
    if (want === undefined) {
      want = { listeners: new Set(), known: false, resource: undefined }
      this.#wants.set(name, want)
      this.#tell(name, true)
    }
    const held = want
    // Each call is one interest, even if two share a function.
    const own: Listener = (resource) => listener(resource)
    held.listeners.add(own)
    if (held.known) listener(held.resource)
    return {
      [Symbol.dispose]: () => {
        if (!held.listeners.delete(own) || held.listeners.size > 0) return
        this.#wants.delete(name)
        this.#tell(name, false)
      },
    }
  }

  /** Listeners run after all of it is known, so that they see one revision. */
  apply(changes: readonly PolicyChange[]): void {
    const changed: [string, Want][] = []
    for (const [name, bytes] of changes) {
      const want = this.#wants.get(name)
      // It came while the wish to stop it was on its way.
      if (want === undefined) continue
      want.resource = bytes === null ? undefined : decodeResource(bytes)
      want.known = true
      changed.push([name, want])
    }
    for (const [name, { listeners, resource }] of changed) {
      for (const listener of listeners) {
        try {
          listener(resource)
        } catch (error) {
          // One reader's mistake must not keep the others from their policy.
          this.#log.error(`a reader of ${name} failed`, { error })
        }
      }
    }
  }
}
