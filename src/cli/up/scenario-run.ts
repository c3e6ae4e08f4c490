import { type Clock, sleep } from '../../base/clock.ts'
import { LoadClient, type LoadTarget } from '../load/load-client.ts'
import { Tally } from '../load/tally.ts'
import type { AppCounts, PhaseRecord } from './checks.ts'
import type { Phase, Scenario, Stream } from './scenario.ts'

/** What a scenario does to the mesh and asks of it. */
export interface Stage {
  readonly clock: Clock
  target(stream: Stream): LoadTarget
  act(action: Phase['do'][number]): Promise<void>
  /** By Pod. */
  appCounts(): Promise<ReadonlyMap<string, AppCounts>>
  /** `counting` is false while a phase settles. The tallies grow while it runs. */
  phaseBegins(phase: Phase, counting: boolean, tallies: Tallies): void
}

/** Says on every answer of the mesh itself why; counted always, for the explanation of a failed check. */
export const reasonHeader = 'x-outrigger-reason'

/** By stream. */
export type Tallies = ReadonlyMap<string, Tally>

// A phase begins with nothing of the one before under way, so that every request is counted in one phase only.
const drainMs = 10_000

/**
 * Runs the phases one after the other, `totalMs` in all without the draining between them; ends early when
 * `stopped` is aborted. `totalMs` is more than settleMs.
 */
export async function runScenario(
  scenario: Pick<Scenario, 'load' | 'phases' | 'expect'>,
  totalMs: number,
  stage: Stage,
  stopped: AbortSignal,
): Promise<readonly PhaseRecord[]> {
  const settling = settleMs(scenario)
  const shares = scenario.phases.reduce((sum, phase) => sum + phase.share, 0)
  const watched = watchedHeaders(scenario)
  const records: PhaseRecord[] = []
  const clients = new Map<Stream, LoadClient>()
  try {
    for (const phase of scenario.phases) {
      if (stopped.aborted) break
      for (const action of phase.do) await stage.act(action)
      const streams = phase.load ?? scenario.load
      for (const stream of streams) {
        if (!clients.has(stream)) clients.set(stream, new LoadClient(stage.target(stream), stage.clock))
      }
      const active = streams.map((stream) => ({ name: stream.name, client: clients.get(stream)! }))
      if (phase.settle > 0) {
        const ignored = talliesOf(streams, watched)
        stage.phaseBegins(phase, false, ignored)
        await load(active, phase.settle * 1_000, ignored, stage.clock, stopped)
      }
      const before = await stage.appCounts()
      const tallies = talliesOf(streams, watched)
      stage.phaseBegins(phase, true, tallies)
      const ms = ((totalMs - settling) * phase.share) / shares
      const seconds = await load(active, ms, tallies, stage.clock, stopped)
      records.push({ name: phase.name, seconds, tallies, apps: difference(await stage.appCounts(), before) })
    }
  } finally {
    await Promise.all([...clients.values()].map((client) => client.close()))
  }
  return records
}

/** How long the phases settle in all: a run needs more, for what is counted. */
export function settleMs({ phases }: Pick<Scenario, 'phases'>): number {
  return phases.reduce((sum, phase) => sum + phase.settle * 1_000, 0)
}

function talliesOf(streams: readonly Stream[], watched: readonly string[]): Tallies {
  return new Map(streams.map(({ name }) => [name, new Tally(watched)]))
}

/** Returns for how many seconds it sent. */
async function load(
  active: readonly { readonly name: string; readonly client: LoadClient }[],
  ms: number,
  tallies: Tallies,
  clock: Clock,
  stopped: AbortSignal,
): Promise<number> {
  const startedAt = clock.now()
  for (const { name, client } of active) client.start(tallies.get(name)!)
  await sleepUnless(clock, ms, stopped)
  const seconds = (clock.now() - startedAt) / 1_000
  await Promise.all(active.map(({ client }) => client.pause(stopped.aborted ? 0 : drainMs)))
  return seconds
}

/** Ends early when `stopped` is aborted. */
export function sleepUnless(clock: Clock, ms: number, stopped: AbortSignal): Promise<void> {
  if (stopped.aborted) return Promise.resolve()
  const { promise, resolve } = Promise.withResolvers<void>()
  stopped.addEventListener('abort', () => resolve(), { once: true })
  return Promise.race([sleep(clock, ms), promise])
}

function watchedHeaders({ expect }: Pick<Scenario, 'expect'>): readonly string[] {
  const named = expect.flatMap(({ measure }) => (measure.measure === 'headerPercent' ? [measure.header] : []))
  return [...new Set([reasonHeader, ...named])]
}

function difference(
  after: ReadonlyMap<string, AppCounts>,
  before: ReadonlyMap<string, AppCounts>,
): ReadonlyMap<string, AppCounts> {
  return new Map(
    [...after].map(([pod, now]) => {
      const then = before.get(pod) ?? { requests: 0, bytes: 0, byPath: {} }
      const byPath = Object.fromEntries(
        Object.entries(now.byPath).map(([path, n]) => [path, n - (then.byPath[path] ?? 0)]),
      )
      return [pod, { requests: now.requests - then.requests, bytes: now.bytes - then.bytes, byPath }]
    }),
  )
}
