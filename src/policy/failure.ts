import type { MeshError } from '../base/errors.ts'

/**
 * Whether an error says that the endpoint (or the fault that stands for it) failed, so that breakers and outlier
 * detection count it. What the mesh itself refused before any endpoint was asked does not.
 */
export function blamesUpstream(error: MeshError): boolean {
  switch (error.code) {
    case 'BREAKER_OPEN':
    case 'NO_HEALTHY_ENDPOINT':
    case 'POOL_OVERFLOW':
      return false
    case 'FAULT_ABORTED':
      return error.reset || error.status >= 500
    default:
      return error.traits.source === 'upstream'
  }
}
