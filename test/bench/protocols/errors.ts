import { request } from 'undici'
import type { Running } from '../cell.ts'
import { paced, saturate } from '../load.ts'
import { bucketsOf, quantileBetween } from '../prometheus.ts'
import { over, type Protocol, reasonsOf, requestsOf, startChecked, warmUp, watchSpans } from './window.ts'

const perSecond = 5_000
/** Of 20 % failed tries, two retries leave 1 %; what the budget withholds stays. More than all of them is another fault. */
const otherStatusMax = 0.25
const delayMetric = 'outrigger_event_loop_delay_seconds'

/** Open loop against a backend that fails one try in five: what callers wait, and how late the event loop is. */
export const withErrors: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const spansOf = await watchSpans(bench, cell)
  const { target } = running
  const warmup = await warmUp(running, warmupSeconds, async (duration) => {
    const load = await saturate(bench.tools, bench.restCpu, target, { connections, seconds: duration })
    // Here some answers are errors by design; the window counts them.
    return { ...load, void: undefined }
  })
  const before = await delays(running)
  const window = await over(bench, running, () =>
    paced(bench.tools, bench.restCpu, [target], { connections, perSecond, seconds, otherStatusMax }),
  )
  const after = await delays(running)
  const { load: measured, disturbed, cpuSeconds } = window
  const { p50Us, p99Us, otherStatus } = measured.counts
  return {
    figures: {
      p50Us,
      p99Us,
      failedShare: otherStatus / measured.requests,
      cpuUsPerRequest: (cpuSeconds / measured.requests) * 1e6,
      ...(before !== undefined && after !== undefined && { loopDelayP99Seconds: quantileBetween(before, after, 0.99) }),
    },
    disturbed,
    reasons: [...reasonsOf([measured]), ...(await spansOf(requestsOf([...warmup, measured])))],
  }
}

async function delays({ metrics }: Running) {
  if (metrics === undefined) return undefined
  const response = await request(metrics)
  return bucketsOf(await response.body.text(), delayMetric)
}
