/** What every protocol needs: a checked start, and a window over which CPU time and memory are counted. */
import { request } from 'undici'
import { sleep } from '../../../src/base/clock.ts'
import type { Bench, Cell, Running } from '../cell.ts'
import { BenchFailure } from '../failure.ts'
import type { Load } from '../load.ts'
import { port } from '../ports.ts'
import type { Outcome } from '../round.ts'
import type { Timing } from '../timing.ts'
import { busySeconds, cpuSeconds, type Memory, memory } from '../usage.ts'

/** Measures one round of a cell, from its start on; the caller stops what was started. */
export type Protocol = (bench: Bench, cell: Cell, timing: Timing) => Promise<Outcome>

/** Bytes of the backend's answer: a proxy that answers by itself must not pass for a fast one. */
const bodyBytes = 128

export interface Window<L extends Load> {
  readonly load: L
  /** CPU seconds of the measured processes over the window. */
  readonly cpuSeconds: number
  /** The highest that was seen, looked at twice a second. */
  readonly memory: Memory
  /** Share of the window in which anything else ran on the proxy's CPU. */
  readonly disturbed: number
}

/** Starts the cell and resolves when one request has brought back exactly what the backend sends. */
export async function startChecked(bench: Bench, cell: Cell): Promise<Running> {
  const running = await cell.start(bench)
  for (const { url, headers } of [running.target, ...(running.more ?? [])]) {
    const body = await bench.processes.ready(url, headers, running.started)
    if (body.length !== bodyBytes) {
      throw new BenchFailure(`${url} answered ${body.length} bytes, the backend sends ${bodyBytes}`)
    }
  }
  return running
}

/**
 * Load until just-in-time compilers have done their work: `seconds` of it, and again, at most four times, while the measured
 * processes have had less than two thirds of that in CPU time, as on a CPU that others use too.
 */
export async function warmUp<L extends Load>(
  running: Running,
  seconds: number,
  load: (seconds: number) => Promise<L>,
): Promise<L[]> {
  const pids = running.measured.map((started) => started.pid)
  const wanted = cpuSeconds(pids) + (pids.length * seconds * 2) / 3
  const loads = [await load(seconds)]
  while (pids.length > 0 && cpuSeconds(pids) < wanted && loads.length < warmUpsMax) loads.push(await load(seconds))
  return loads
}

const warmUpsMax = 4

/** Runs `load` and counts what the measured processes used meanwhile. Throws when one of the cell's programs ended. */
export async function over<L extends Load>(bench: Bench, running: Running, load: () => Promise<L>): Promise<Window<L>> {
  const pids = running.measured.map((started) => started.pid)
  const cpuBefore = cpuSeconds(pids)
  const busyBefore = busySeconds(bench.proxyCpu)
  const begin = bench.clock.now()
  const peak = watchMemory(bench, pids)
  const counted = await load()
  const used = cpuSeconds(pids) - cpuBefore
  const others = Math.max(0, busySeconds(bench.proxyCpu) - busyBefore - used)
  const elapsed = (bench.clock.now() - begin) / 1000
  requireRunning(running)
  return { load: counted, cpuSeconds: used, memory: peak(), disturbed: others / elapsed }
}

export function requireRunning(running: Running): void {
  for (const started of running.started) {
    const end = started.ended()
    if (end !== undefined) throw new BenchFailure(end)
  }
}

/** The highest memory seen until the function it returns is called. The reading costs us CPU time, not the measured process. */
function watchMemory(bench: Bench, pids: readonly number[]): () => Memory {
  let highest: Memory = { rss: 0, pss: 0, uss: 0 }
  const look = (): void => {
    const now = memory(pids)
    highest = {
      rss: Math.max(highest.rss, now.rss),
      pss: Math.max(highest.pss, now.pss),
      uss: Math.max(highest.uss, now.uss),
    }
  }
  const timer = bench.clock.every(500, look)
  return () => {
    timer.cancel()
    look()
    return highest
  }
}

/** Counts spans from its call on. The function it returns says what is wrong when too few for `requests` arrived. */
export async function watchSpans(bench: Bench, cell: Cell): Promise<(requests: number) => Promise<string[]>> {
  const { traced } = cell
  if (traced === undefined) return () => Promise.resolve([])
  const before = await spansSeen()
  return async (requests) => {
    // Half of what is expected: chance, and batches still under way.
    const wanted = (requests * traced.share * traced.spans) / 2
    // Exporters send in batches, a few seconds apart.
    for (const until = bench.clock.now() + 6_000; ; await sleep(bench.clock, 200)) {
      const spans = (await spansSeen()) - before
      if (spans >= wanted) return []
      if (bench.clock.now() > until) {
        return [`${spans} spans reached the sink, the tracing of this cell makes about ${Math.round(2 * wanted)}`]
      }
    }
  }
}

async function spansSeen(): Promise<number> {
  const response = await request(`http://127.0.0.1:${port.sink}/`)
  return ((await response.body.json()) as { spans: number }).spans
}

export function requestsOf(loads: readonly Load[]): number {
  return loads.reduce((sum, { requests }) => sum + requests, 0)
}

export function reasonsOf(loads: readonly Load[]): string[] {
  return loads.flatMap((load) => (load.void === undefined ? [] : [load.void]))
}
