import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { sleep } from '../../../src/base/clock.ts'
import type { Bench } from '../cell.ts'
import { listeners, startPair } from '../cells/ours.ts'
import { BenchFailure } from '../failure.ts'
import { openLoopCommand } from '../load.ts'
import type { OpenLoopCounts } from '../node/open-loop.ts'
import { requireRunning } from '../protocols/window.ts'
import type { SoakOptions } from './options.ts'
import { ChangingPolicies } from './policies.ts'
import { policyOf, type Sample, sampleOf, type Watched } from './sample.ts'
import type { SoakResult } from './verdicts.ts'

const changeMs = 1_000
const sampleSeconds = 10
const connections = 50

/** The processes that are held to the limits. */
export const judged = ['client', 'server'] as const

/** Load, changes and samples until the last request was answered. `say` gets a line every ten seconds. */
export async function soak(bench: Bench, options: SoakOptions, say: (line: string) => void): Promise<SoakResult> {
  const policies = new ChangingPolicies(bench.workFolder)
  const running = await startPair(bench, ['base', 'mesh', 'strict', policies.folder])
  const [client, server] = running.measured
  const [, , control] = running.started
  const { target } = running
  await bench.processes.ready(target.url, target.headers, running.started)
  const watched: Readonly<Record<string, Watched>> = {
    client: { pid: client!.pid, metrics: listeners.client.metrics, admin: listeners.client.admin },
    server: { pid: server!.pid, metrics: listeners.backend.metrics, admin: listeners.backend.admin },
    'control plane': { pid: control!.pid },
  }
  const samples: Record<string, Sample[]> = Object.fromEntries(Object.keys(watched).map((name) => [name, []]))
  const { revision } = await policyOf(listeners.client.metrics)
  const begin = bench.clock.now()
  const changes = bench.clock.every(changeMs, () => policies.change())
  const seconds = options.minutes * 60
  const load = { perSecond: options.perSecond, connections, seconds }
  const generator = spawn(bench.tools.taskset, openLoopCommand(bench.restCpu, [target], load, sampleSeconds), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(generator, 'close')
  let counts: OpenLoopCounts | undefined
  try {
    for await (const line of createInterface({ input: generator.stdout })) {
      counts = JSON.parse(line) as OpenLoopCounts
      const at = (bench.clock.now() - begin) / 1000
      requireRunning(running)
      for (const [name, process] of Object.entries(watched)) samples[name]!.push(await sampleOf(process, at))
      say(progress(at, counts, samples))
    }
    await ended
  } finally {
    changes.cancel()
    generator.kill()
  }
  if (counts === undefined) throw new BenchFailure('the generator printed no counts')
  // The last change is on its way.
  await sleep(bench.clock, 2 * changeMs)
  requireRunning(running)
  const policy = await policyOf(listeners.client.metrics)
  if (policy.rejected > 0) throw new BenchFailure(`the client's sidecar refused ${policy.rejected} resources`)
  const { sent, ok, otherStatus, failed, firstFailure } = counts
  return {
    asked: options.perSecond * seconds,
    sent,
    ok,
    otherStatus,
    failed,
    firstFailure,
    changes: policies.changes,
    revisions: policy.revision - revision,
    samples,
  }
}

function progress(at: number, counts: OpenLoopCounts, samples: Readonly<Record<string, readonly Sample[]>>): string {
  const { ok, sent, otherStatus, failed, p50Us, p99Us } = counts
  const processes = Object.entries(samples).map(([name, list]) => {
    const last = list.at(-1)!
    const held = Object.entries(last.counts).map(([what, count]) => `${count} ${what}`)
    return `${name} ${(last.rss / 1e6).toFixed(1)} MB (USS ${(last.uss / 1e6).toFixed(1)}) ${held.join(' ')}`
  })
  const bad = failed + otherStatus
  const latency = `p50 ${p50Us.toFixed(0)} us p99 ${p99Us.toFixed(0)} us`
  return `${at.toFixed(0).padStart(5)} s  ${ok}/${sent} ok, ${bad} not, ${latency}; ${processes.join('; ')}`
}
