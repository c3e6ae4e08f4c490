/** The table of faults names tests that are there. */
import { type Fault, faults } from '../faults/table.ts'
import type { Problems } from './arrows.ts'
import type { Tree } from './tree.ts'

/** Rows of the matrix that the table must have, one of each. */
const rows = 36

export function faultProblems(tree: Tree, table: readonly Fault[] = faults): Problems {
  const file = 'test/faults/table.ts'
  const problems: Problems = []
  for (let number = 1; number <= rows; number++) {
    const count = table.filter((row) => row.number === number).length
    if (count !== 1) problems.push(`${file}: ${count} rows of number ${number}, not one`)
  }
  for (const { number, tests, untested, holds } of table) {
    const where = `${file}: F${number}`
    if (tests.length === 0 && untested === undefined) problems.push(`${where} has no test, and does not say why`)
    if (tests.length > 0 && (untested !== undefined || holds === ''))
      problems.push(`${where}: with tests it says what holds, and nothing else`)
    for (const [place, name] of tests) {
      if (!tree.files.has(place)) problems.push(`${where}: there is no ${place}`)
      else if (!tree.text(place).includes(name)) problems.push(`${where}: ${place} has no test '${name}'`)
    }
  }
  return problems
}
