import { sleep } from '../../../src/base/clock.ts'
import { paced } from '../load.ts'
import { memory } from '../usage.ts'
import { pacedPerSecond } from './latency.ts'
import { over, type Protocol, reasonsOf, startChecked, watchSpans } from './window.ts'

/** From the first answer to the look at what an idle sidecar needs. */
const idleMs = 3_000

/** Memory of each sidecar, idle and at 1,000 requests a second in open loop, which several sidecars share. */
export const memoryAtRate: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const spansOf = await watchSpans(bench, cell)
  const targets = [running.target, ...(running.more ?? [])]
  const load = (duration: number) =>
    paced(bench.tools, bench.restCpu, targets, { connections, perSecond: pacedPerSecond, seconds: duration })
  await sleep(bench.clock, idleMs)
  const idle = memory(running.measured.map((started) => started.pid))
  const warmup = await load(warmupSeconds)
  const window = await over(bench, running, () => load(seconds))
  const { load: measured, memory: highest, disturbed, cpuSeconds } = window
  const each = running.measured.length
  return {
    figures: {
      idleRssBytes: idle.rss / each,
      idlePssBytes: idle.pss / each,
      idleUssBytes: idle.uss / each,
      rssBytes: highest.rss / each,
      pssBytes: highest.pss / each,
      ussBytes: highest.uss / each,
      cpuUsPerRequest: (cpuSeconds / measured.requests) * 1e6,
    },
    disturbed,
    reasons: [...reasonsOf([warmup, measured]), ...(await spansOf(warmup.requests + measured.requests))],
  }
}
