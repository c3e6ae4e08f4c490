/** Program: `head-oracle.ts FOLDER RUNS SEED`. Exits 1 with the smallest counterexample found. Used on mutants too. */
import { pathToFileURL } from 'node:url'
import fc from 'fast-check'
import { vectors } from '../attack/vectors.ts'
import { requestBytes } from './inputs.ts'
import { disagreement, loadOurs, readWithOurs } from './oracle.ts'

const [folder = '', runs = '1000', seed = '1'] = process.argv.slice(2)
const ours = await loadOurs(pathToFileURL(`${folder}/`))

let accepted = 0
for (const vector of vectors) {
  const bytes = Buffer.from(vector.bytes, 'latin1')
  const verdict = readWithOurs(ours, bytes)
  const wanted =
    vector.verdict === 'served' ||
    vector.name.startsWith('CONNECT') ||
    vector.name.startsWith('reserved') ||
    vector.row === 6
  if (!wanted && verdict.is === 'read') fail(`vector '${vector.name}' is accepted`)
}
const result = fc.check(
  fc.property(requestBytes, (bytes) => {
    if (readWithOurs(ours, bytes).is === 'read') accepted++
    return disagreement(ours, bytes) === undefined
  }),
  { numRuns: Number(runs), seed: Number(seed) },
)
if (result.failed) {
  const bytes = result.counterexample?.[0] as Buffer
  fail(`${JSON.stringify(bytes.toString('latin1'))}: ${disagreement(ours, bytes)}`)
}
// A generator whose inputs are all refused would prove nothing.
if (accepted < Number(runs) / 20) fail(`only ${accepted} of ${runs} inputs were accepted`)
process.stdout.write(`${runs} inputs, ${accepted} accepted by both, 0 disagreements\n`)

function fail(why: string): never {
  process.stdout.write(`${why}\n`)
  process.exit(1)
}
