import type { Cell } from '../cell.ts'
import { capacityCells } from './capacity.ts'
import { idleCells, startCells, stormCells, tcpCells } from './connections.ts'
import { http2Cells } from './http2.ts'
import { errorCells, latencyCells, memoryCells } from './memory.ts'
import { taxCells } from './tax.ts'

export const cells: readonly Cell[] = [
  ...capacityCells,
  ...http2Cells,
  ...taxCells,
  ...tcpCells,
  ...stormCells,
  ...latencyCells,
  ...errorCells,
  ...memoryCells,
  ...idleCells,
  ...startCells,
]
