/** One resource at one version, encoded once and shared by every stream. */
export interface EncodedResource {
  readonly name: string
  readonly version: string
  /** The encoded `Resource` of outrigger.proto. */
  readonly bytes: Uint8Array
}

/** What may be asked for, at its newest version. `SnapshotCache` is one. */
export interface Resources {
  readonly revision: bigint
  /** Nothing is published before: an absent resource would mean "does not exist". */
  readonly synced: boolean
  get(name: string): EncodedResource | undefined
  /** Hears the names that are new, different or gone, until disposed. */
  subscribe(listener: (changed: ReadonlySet<string>) => void): Disposable
}
