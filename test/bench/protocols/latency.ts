import { paced } from '../load.ts'
import { over, type Protocol, startChecked, watchSpans } from './window.ts'

/** The rate, as in Istio's published figures. */
export const pacedPerSecond = 1_000
/** The p99 of what the generator itself may be late. */
const lagMaxUs = 1_000

/** Open loop: what a caller waits, from the moment at which its request was due. */
export const latency: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const spansOf = await watchSpans(bench, cell)
  const load = (duration: number) =>
    paced(bench.tools, bench.restCpu, [running.target], {
      connections,
      perSecond: pacedPerSecond,
      seconds: duration,
      lagMaxUs,
    })
  // A warm-up may be late: what counts is that it was answered.
  const warmup = await load(warmupSeconds)
  const window = await over(bench, running, () => load(seconds))
  const { load: measured, disturbed } = window
  const { p50Us, p90Us, p99Us, p999Us, lagP99Us } = measured.counts
  const reasons = measured.void === undefined ? [] : [measured.void]
  reasons.push(...(await spansOf(warmup.requests + measured.requests)))
  return { figures: { p50Us, p90Us, p99Us, p999Us, lagP99Us }, disturbed, reasons }
}
