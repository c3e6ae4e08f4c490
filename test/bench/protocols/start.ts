import type { Bench, Cell } from '../cell.ts'
import { BenchFailure } from '../failure.ts'
import { spread } from '../summary.ts'
import { cpuSeconds } from '../usage.ts'
import type { Protocol } from './window.ts'

const starts = 5
const pauseMs = 2
const withinMs = 60_000

/**
 * From the start of the process to its first answer from the backend, for each of five starts. `cell.again` starts the
 * measured process alone, beside what the first start left running.
 */
export const startToServing: Protocol = async (bench, cell) => {
  const { again } = cell
  if (again === undefined) throw new Error(`${cell.name} cannot be started again`)
  await cell.start(bench)
  const milliseconds: number[] = []
  const cpu: number[] = []
  for (let i = 0; i < starts; i++) {
    const { ms, cpuMs } = await timed(bench, again)
    milliseconds.push(ms)
    cpu.push(cpuMs)
  }
  return {
    figures: {
      startMs: spread(milliseconds)!.median,
      startMsMax: Math.max(...milliseconds),
      startCpuMs: spread(cpu)!.median,
    },
    disturbed: 0,
    reasons: [],
  }
}

async function timed(bench: Bench, again: NonNullable<Cell['again']>): Promise<{ ms: number; cpuMs: number }> {
  const start = await again(bench)
  const begin = bench.clock.now()
  const { target, measured } = start()
  const body = await bench.processes.ready(target.url, target.headers, measured, { withinMs, pauseMs })
  const ms = bench.clock.now() - begin
  const cpuMs = cpuSeconds(measured.map(({ pid }) => pid)) * 1000
  if (body.length === 0) throw new BenchFailure(`${target.url} answered without a body`)
  for (const started of measured) await started.stop()
  return { ms, cpuMs }
}
