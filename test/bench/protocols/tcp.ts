import { withItem } from '../cell.ts'
import { saturate } from '../load.ts'
import { over, type Protocol, reasonsOf, startChecked, warmUp } from './window.ts'

/** Opaque bytes: answers of 1 MB over few connections, then small ones. HTTP is spoken by the two ends only. */
export const tcp: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const load = (item: string, duration: number) =>
    saturate(bench.tools, bench.restCpu, withItem(running.target, item), { connections, seconds: duration })
  const warmup = await warmUp(running, warmupSeconds, (duration) => load('1m', duration))
  const bulk = await over(bench, running, () => load('1m', seconds))
  const small = await over(bench, running, () => load('item', seconds))
  return {
    figures: {
      bytesPerCpuSecond: bulk.load.bytes / bulk.cpuSeconds,
      bytesPerSecond: bulk.load.bytes / bulk.load.seconds,
      exchangesPerCpuSecond: small.load.requests / small.cpuSeconds,
    },
    disturbed: Math.max(bulk.disturbed, small.disturbed),
    reasons: reasonsOf([...warmup, bulk.load, small.load]),
  }
}
