import { paced, saturate } from '../load.ts'
import { over, type Protocol, reasonsOf, requestsOf, startChecked, warmUp, watchSpans } from './window.ts'

/** The rate, as in Istio's published figures. */
export const pacedPerSecond = 1_000
/** The p99 of what the generator itself may be late. */
const lagMaxUs = 1_000

/** Open loop: what a caller waits, from the moment at which its request was due. */
export const latency: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const spansOf = await watchSpans(bench, cell)
  const { target } = running
  // At the paced rate it would take minutes until compilers are done.
  const warmup = await warmUp(running, warmupSeconds, (duration) =>
    saturate(bench.tools, bench.restCpu, target, { connections, seconds: duration }),
  )
  const window = await over(bench, running, () =>
    paced(bench.tools, bench.restCpu, [target], { connections, perSecond: pacedPerSecond, seconds, lagMaxUs }),
  )
  const { load: measured, disturbed } = window
  const { p50Us, p90Us, p99Us, p999Us, lagP99Us } = measured.counts
  const all = [...warmup, measured]
  const reasons = [...reasonsOf(all), ...(await spansOf(requestsOf(all)))]
  return { figures: { p50Us, p90Us, p99Us, p999Us, lagP99Us }, disturbed, reasons }
}
