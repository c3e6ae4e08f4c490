/** Requests near the edge, without end: the vectors, changed by bytes, by pieces of syntax and by lines; and fast-check's. */
import fc from 'fast-check'
import { vectors } from '../../attack/vectors.ts'
import { requestBytes } from '../../fuzz/inputs.ts'
import { chance, change, one } from '../../support/mutate.ts'

const short = vectors.filter(({ bytes }) => bytes.length <= 1_500)
const seeds = short.map(({ bytes }) => bytes)
/** What is legal is worth more changes: what comes of it may still be accepted, and then five others must read it as we do. */
const legal = short.filter(({ verdict }) => verdict === 'served').map(({ bytes }) => bytes)

/** `count` requests, the same for the same seed: three of four are changed vectors, the fourth is fast-check's. */
export function* mutants(seed: number, count: number): Generator<string> {
  const pick = chance(seed)
  let made: readonly Buffer[] = []
  let used = 0
  for (let i = 0; i < count; i++) {
    if (i % 4 === 3) {
      if (used === made.length) {
        made = fc.sample(requestBytes, { numRuns: 500, seed: pick(2 ** 31) })
        used = 0
      }
      yield made[used++]!.latin1Slice()
      continue
    }
    let text = one(pick(3) > 0 ? legal : seeds, pick)
    for (let changes = 1 + pick(pick(3) + 1); changes > 0; changes--) text = change(text, seeds, pick)
    yield text.slice(0, 8_000)
  }
}
