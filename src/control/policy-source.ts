import type { Resource } from '../api/gen/outrigger_pb.ts'

/**
 * Where a sidecar's policy comes from. Implemented by `PolicyStore` (watch stream, last good on disk);
 * tests implement it with a map.
 */
export interface PolicySource {
  /**
   * Wants the resource from now on. Calls back at once if it is known, and on every change.
   * `undefined` = it is known not to exist. Names as in outrigger.proto (`service/NS/NAME`, ...).
   */
  watch(name: string, listener: (resource: Resource | undefined) => void): Disposable
  /** True once the first snapshot has come, from the stream or from disk. */
  readonly synced: boolean
}
