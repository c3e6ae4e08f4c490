import type { Bench, Cell } from './cell.ts'
import { BenchFailure } from './failure.ts'
import { groups } from './groups.ts'
import type { Options } from './options.ts'
import { type Round, roundOf, voidRound } from './round.ts'
import { timingOf } from './timing.ts'

/** Never rejects for what a proxy did: a round that could not be finished is void, and the next cell begins. */
export async function measure(bench: Bench, cell: Cell, options: Options): Promise<Round> {
  const { protocol, timing } = groups[cell.group]
  try {
    return roundOf(await protocol(bench, cell, timingOf(timing, options)))
  } catch (error) {
    if (!(error instanceof BenchFailure)) throw error
    return voidRound(error.message)
  } finally {
    await bench.processes.stopCell()
  }
}
