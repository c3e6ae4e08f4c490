import type { Cell } from '../cell.ts'
import { capacityCells } from './capacity.ts'
import { latencyCells, memoryCells } from './memory.ts'
import { taxCells } from './tax.ts'

export const cells: readonly Cell[] = [...capacityCells, ...taxCells, ...latencyCells, ...memoryCells]
