/** The attack table (test/attack/table.ts) against the tree: what it names exists, and nothing is missing from it. */
import { headerCases } from '../attack/headers.ts'
import { messageCases } from '../attack/messages.ts'
import { type AttackRow, attackTable, type CaseList } from '../attack/table.ts'
import { vectors } from '../attack/vectors.ts'
import type { Problems } from './arrows.ts'
import type { Tree } from './tree.ts'

const file = 'test/attack/table.ts'
const rowsMax = 50

/** Rows that each list has cases of. */
const rowsOf: Readonly<Record<CaseList, ReadonlySet<number>>> = {
  vectors: new Set(vectors.map(({ row }) => row)),
  exchanges: new Set([...headerCases, ...messageCases].map(({ row }) => row)),
}

/** `table` for the tests of this check. */
export function attackProblems(tree: Tree, table: readonly AttackRow[] = attackTable): Problems {
  const problems: Problems = []
  for (let row = 1; row <= rowsMax; row++) {
    const count = table.filter((known) => known.row === row).length
    if (count !== 1) problems.push(`${file}: row ${row} is there ${count} times`)
  }
  for (const { row, lists = [], tests = [], note } of table) {
    if (lists.length + tests.length === 0 && note === undefined)
      problems.push(`${file}: row ${row} names no list, no test and no reason`)
    for (const list of lists) {
      if (!rowsOf[list].has(row)) problems.push(`${file}: row ${row}: the ${list} have no case of it`)
    }
    for (const [test, name] of tests) {
      if (tree.files.get(test)?.includes(name) !== true)
        problems.push(`${file}: row ${row}: ${test} has no test '${name}'`)
    }
  }
  for (const list of Object.keys(rowsOf) as CaseList[]) {
    for (const row of rowsOf[list]) {
      if (table.find((known) => known.row === row)?.lists?.includes(list) !== true)
        problems.push(`${file}: row ${row} does not name the ${list}, which have cases of it`)
    }
  }
  return problems
}
