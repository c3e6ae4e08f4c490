import type { Document } from '../../src/api/documents/document.ts'
import { type IndexedDocuments, indexDocuments } from '../model/document-index.ts'
import { buildSnapshot } from './build.ts'
import { type ResourceBody, type SnapshotEntry, snapshotEntry } from './entry.ts'
import { Memo } from './memo.ts'
import type { MeshSettings } from './mesh-settings.ts'

/**
 * What every workload may ask for, at its newest version. Documents in, encoded resources out: each is encoded
 * once, keeps its identity while it says the same, and listeners hear only the names that really changed.
 */
export class SnapshotCache {
  #settings: MeshSettings
  #documents: readonly Document[] | undefined
  #index: IndexedDocuments | undefined
  readonly #memo = new Memo()
  /** What each entry was last made of: the same body needs no encoding to be known as the same. */
  #bodies: ReadonlyMap<string, ResourceBody> = new Map()
  #entries: ReadonlyMap<string, SnapshotEntry> = new Map()
  #revision = 0n
  readonly #listeners = new Set<(changed: ReadonlySet<string>) => void>()

  constructor(settings: MeshSettings) {
    this.#settings = settings
  }

  /** Grows by one with each change; 0 until the first documents came. Monotonic within one process. */
  get revision(): bigint {
    return this.#revision
  }

  /**
   * False until the first documents came. Nothing may be published before: to a sidecar an absent resource would
   * mean "does not exist".
   */
  get synced(): boolean {
    return this.#documents !== undefined
  }

  get settings(): MeshSettings {
    return this.#settings
  }

  get(name: string): SnapshotEntry | undefined {
    return this.#entries.get(name)
  }

  names(): IterableIterator<string> {
    return this.#entries.keys()
  }

  /** All documents of all sources: the whole set, each time. */
  setDocuments(documents: readonly Document[]): void {
    this.#documents = documents
    this.#rebuild()
  }

  /** A new trust bundle, for one, changes the resource `mesh`. */
  setSettings(settings: MeshSettings): void {
    this.#settings = settings
    if (this.synced) this.#rebuild()
  }

  /** Hears the names that are new, different or gone (then `get` answers undefined), until disposed. */
  subscribe(listener: (changed: ReadonlySet<string>) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  #rebuild(): void {
    this.#index = indexDocuments(this.#documents ?? [], this.#index)
    const bodies = buildSnapshot(this.#index, this.#settings, this.#memo)
    const before = this.#entries
    const entries = new Map<string, SnapshotEntry>()
    const changed = new Set<string>()
    for (const [name, body] of bodies) {
      const known = before.get(name)
      const entry = known !== undefined && this.#bodies.get(name) === body ? known : snapshotEntry(name, body, known)
      entries.set(name, entry)
      if (entry !== known) changed.add(name)
    }
    for (const name of before.keys()) if (!entries.has(name)) changed.add(name)
    this.#bodies = bodies
    this.#entries = entries
    if (changed.size === 0) return
    this.#revision += 1n
    for (const listener of this.#listeners) listener(changed)
  }
}
