/** One round of one cell: start, check, warm up, measure, stop. */
import { request } from 'undici'
import { sleep } from '../../src/base/clock.ts'
import type { Bench, Cell, Running } from './cell.ts'
import { BenchFailure } from './failure.ts'
import { type Load, paced, saturate } from './load.ts'
import type { Options } from './options.ts'
import { port } from './ports.ts'
import { busySeconds, cpuSeconds, memory } from './usage.ts'

/** Bytes of the backend's answer: a proxy that answers by itself must not pass for a fast one. */
const bodyBytes = 128
/** The rate of the memory cells, as in Istio's published figures. */
export const pacedPerSecond = 1_000
/** Half of what 1 % sampling gives at one span a request and proxy: chance, and batches still under way. */
const spansPerRequestMin = 0.005
/** CPU time of others on the proxy's CPU, as a share of the window, from which a round is marked. */
const noisyShare = 0.05

export interface Round {
  readonly requests: number
  readonly seconds: number
  /** CPU seconds of the measured processes over the window. */
  readonly cpuSeconds: number
  readonly rssBytes: number
  readonly ussBytes: number
  /** Share of the window in which the measured processes ran. */
  readonly busy: number
  /** Share of the window in which anything else ran on the proxy's CPU. */
  readonly disturbed: number
  readonly noisy: boolean
  /** Spans that reached the sink during the round, warm-up included. */
  readonly spans: number
  /** Why its figures must not be used. */
  readonly void: string | undefined
}

/** Never rejects for what a proxy did: a round that could not be finished is void, and the next cell begins. */
export async function measure(bench: Bench, cell: Cell, options: Options): Promise<Round> {
  try {
    const running = await cell.start(bench)
    await check(bench, running)
    return await window(bench, cell, running, options)
  } catch (error) {
    if (!(error instanceof BenchFailure)) throw error
    return { ...nothing, void: error.message }
  } finally {
    await bench.processes.stopCell()
  }
}

const nothing: Round = {
  requests: 0,
  seconds: 0,
  cpuSeconds: 0,
  rssBytes: 0,
  ussBytes: 0,
  busy: 0,
  disturbed: 0,
  noisy: false,
  spans: 0,
  void: undefined,
}

async function check(bench: Bench, running: Running): Promise<void> {
  const { url, headers } = running.target
  const body = await bench.processes.ready(url, headers, running.started)
  if (body.length !== bodyBytes) {
    throw new BenchFailure(`${url} answered ${body.length} bytes, the backend sends ${bodyBytes}`)
  }
}

async function window(bench: Bench, cell: Cell, running: Running, options: Options): Promise<Round> {
  const pids = running.measured.map((started) => started.pid)
  const spansBefore = await spansSeen()
  const warmup = await load(options.warmupSeconds)
  const cpuBefore = cpuSeconds(pids)
  const busyBefore = busySeconds(bench.proxyCpu)
  const peak = watchMemory(bench, pids)
  const measured = await load(options.seconds)
  const used = cpuSeconds(pids) - cpuBefore
  const others = Math.max(0, busySeconds(bench.proxyCpu) - busyBefore - used)
  const { rss, uss } = peak()
  for (const started of running.started) {
    const end = started.ended()
    if (end !== undefined) throw new BenchFailure(end)
  }
  const reasons = [warmup.void, measured.void].filter((reason) => reason !== undefined)
  const spansMin = cell.traced
    ? (warmup.requests + measured.requests) * spansPerRequestMin * running.measured.length
    : 0
  const spans = await awaitSpans(bench, spansBefore, spansMin)
  if (spans < spansMin)
    reasons.push(`${spans} spans reached the sink, 1 % tracing makes at least ${Math.round(2 * spansMin)}`)
  return {
    requests: measured.requests,
    seconds: measured.seconds,
    cpuSeconds: used,
    rssBytes: rss,
    ussBytes: uss,
    busy: used / measured.seconds,
    disturbed: others / measured.seconds,
    noisy: others / measured.seconds > noisyShare,
    spans,
    void: reasons.join('; ') || undefined,
  }

  function load(seconds: number): Promise<Load> {
    return cell.group === 'memory'
      ? paced(bench.tools, bench.restCpu, running.target, options.connections, pacedPerSecond, seconds)
      : saturate(bench.tools, bench.restCpu, running.target, options.connections, seconds)
  }
}

/** The highest memory seen during the window, looked at twice a second. The reading costs us CPU time, not
 * the measured process. */
function watchMemory(bench: Bench, pids: readonly number[]): () => { rss: number; uss: number } {
  let rss = 0
  let uss = 0
  const look = (): void => {
    const now = memory(pids)
    rss = Math.max(rss, now.rss)
    uss = Math.max(uss, now.uss)
  }
  const timer = bench.clock.every(500, look)
  return () => {
    timer.cancel()
    look()
    return { rss, uss }
  }
}

/** Exporters send in batches, a few seconds apart: waits up to 6 s for `wanted` ones. */
async function awaitSpans(bench: Bench, before: number, wanted: number): Promise<number> {
  for (const until = bench.clock.now() + 6_000; ; await sleep(bench.clock, 200)) {
    const spans = (await spansSeen()) - before
    if (spans >= wanted || bench.clock.now() > until) return spans
  }
}

async function spansSeen(): Promise<number> {
  const response = await request(`http://127.0.0.1:${port.sink}/`)
  return ((await response.body.json()) as { spans: number }).spans
}
