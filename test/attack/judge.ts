/** Compares what a client and an upstream saw with what a vector says. */
import assert from 'node:assert/strict'
import { type Exchanged, type Recording, statuses } from '../support/raw.ts'
import { headOnly, requestsOf, type Vector } from './vectors.ts'

/** Bytes that travel in one piece over loopback, in plaintext and over TLS. */
const onePieceMax = 8_000

/** Throws an AssertionError that names the vector. `verdict`: where it is not the vector's own. */
export function judge(vector: Vector, got: Exchanged, upstream: Recording, verdict = vector.verdict): void {
  const seen = `${vector.name}: client got ${JSON.stringify(got.text.slice(0, 300))}, upstream ${JSON.stringify(upstream.text.slice(0, 300))}`
  assert.ok(got.closed, `${seen}: the connection stays open`)
  const requests = verdict === 'served' ? requestsOf(vector) : 0
  const answers = Array<number>(requests).fill(200)
  if (verdict !== 'served') answers.push(verdict)
  else if (vector.next !== undefined) answers.push(vector.next)
  assert.deepEqual(statuses(got.text), answers, seen)
  assert.equal(upstream.requests, requests, `${seen}: requests upstream`)
  if (verdict !== 'served' || vector.next !== undefined) assert.match(got.text, /connection: close/i, seen)
  if (verdict !== 'served') {
    const untouched = headOnly(vector) || vector.bytes.length < onePieceMax
    if (untouched) assert.equal(upstream.text, '', `${seen}: a refused request sends zero bytes upstream`)
    return
  }
  if (vector.never !== undefined) assert.doesNotMatch(upstream.text, vector.never, seen)
  if (vector.must !== undefined) assert.match(upstream.text, vector.must, seen)
}
