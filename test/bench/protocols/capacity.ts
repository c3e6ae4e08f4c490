import { type Cell, withItem } from '../cell.ts'
import { bodyBytes } from '../helpers.ts'
import { saturate } from '../load.ts'
import type { Figures } from '../round.ts'
import { over, type Protocol, reasonsOf, requestsOf, startChecked, warmUp, watchSpans } from './window.ts'

/** Closed loop, one window: what a request costs. */
export const capacity: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const spansOf = await watchSpans(bench, cell)
  const load = (duration: number) =>
    saturate(bench.tools, bench.restCpu, running.target, { connections, seconds: duration })
  const warmup = await warmUp(running, warmupSeconds, load)
  const window = await over(bench, running, () => load(seconds))
  const measured = window.load
  const all = [...warmup, window.load]
  const reasons = [...reasonsOf(all), ...(await spansOf(requestsOf(all)))]
  const { cpuSeconds, memory, disturbed } = window
  const figures: Figures = {
    requestsPerSecond: measured.requests / measured.seconds,
    ...(isProxy(cell) && {
      cpuUsPerRequest: (cpuSeconds / measured.requests) * 1e6,
      requestsPerCpuSecond: measured.requests / cpuSeconds,
      rssBytes: memory.rss,
      pssBytes: memory.pss,
      ussBytes: memory.uss,
    }),
  }
  return { figures, disturbed, reasons }
}

/** The windows of one start: connections at 1 KB, then bodies at 16 connections. `connections16` is also the body of 1 KB. */
const windows = [
  { figure: 'connections1', item: '1k', connections: 1 },
  { figure: 'connections16', item: '1k', connections: 16 },
  { figure: 'connections64', item: '1k', connections: 64 },
  { figure: 'body0', item: 'empty', connections: 16 },
  { figure: 'body64k', item: '64k', connections: 16, bytes: bodyBytes['64k'] },
  { figure: 'body1m', item: '1m', connections: 16, bytes: bodyBytes['1m'] },
] as const

/** Closed loop, one window after another in one start: requests, for large bodies bytes, per CPU-second. */
export const sizes: Protocol = async (bench, cell, { seconds, warmupSeconds }) => {
  const running = await startChecked(bench, cell)
  const load = (item: string, connections: number, duration: number) =>
    saturate(bench.tools, bench.restCpu, withItem(running.target, item), { connections, seconds: duration })
  const reasons = reasonsOf(await warmUp(running, warmupSeconds, (duration) => load('1k', 16, duration)))
  const figures: Record<string, number> = {}
  let disturbed = 0
  for (const one of windows) {
    const window = await over(bench, running, () => load(one.item, one.connections, seconds))
    reasons.push(...reasonsOf([window.load]))
    disturbed = Math.max(disturbed, window.disturbed)
    const { requests, bytes } = window.load
    figures[one.figure] = ('bytes' in one ? bytes : requests) / window.cpuSeconds
    if ('bytes' in one && bytes < requests * one.bytes)
      reasons.push(`${requests} answers of ${one.item} were ${bytes} bytes`)
  }
  return { figures, disturbed, reasons }
}

function isProxy(cell: Cell): boolean {
  return cell.name !== 'direct'
}
