/**
 * Hostile and odd requests, each with the verdict that the RFC (or, where it leaves a choice, our strictness) demands.
 * One list for the parser alone, for a running engine, for running sidecars and for other people's servers behind them:
 * add a line to a file of requests/ and all of them test it.
 */
import { chunkVectors } from './requests/chunks.ts'
import { connectionVectors } from './requests/connections.ts'
import { framing } from './requests/framing.ts'
import { lines } from './requests/lines.ts'
import { targetVectors } from './requests/targets.ts'
import { transferEncoding } from './requests/transfer-encoding.ts'
import type { Vector } from './vector.ts'

export type { Vector }

export const vectors: readonly Vector[] = [
  ...framing,
  ...transferEncoding,
  ...lines,
  ...chunkVectors,
  ...targetVectors,
  ...connectionVectors,
]

/** Vectors whose fault lies in the head: refused before any upstream is chosen, however their bytes come. */
export function headOnly(vector: Vector): boolean {
  return vector.verdict !== 'served' && vector.late !== true
}

/** Requests that an upstream sees of it. */
export function requestsOf(vector: Vector): number {
  return vector.requests ?? (vector.verdict === 'served' ? 1 : 0)
}
