import { isIP } from 'node:net'
import { type Clock, systemClock } from '../../base/clock.ts'
import { appCounts } from './app-client.ts'
import { checkAll, type PhaseRecord } from './checks.ts'
import { openDisplay } from './display.ts'
import { LaterPolicy } from './later-policy.ts'
import { Mesh } from './mesh.ts'
import { MeshView } from './mesh-view.ts'
import { loadScenario, type Scenario, type ScenarioFolder } from './scenario.ts'
import { reasonHeader, runScenario, type Stage, settleMs, sleepUnless } from './scenario-run.ts'
import { breakerTransitions } from './sidecar-client.ts'
import { stopSignals } from './stop-signals.ts'

/** Flags of `outrigger up`. */
export interface UpOptions {
  readonly folder: string
  readonly scenario?: string
  /** Milliseconds. */
  readonly for?: number
  readonly rate?: number
  readonly load: boolean
  readonly stateDir?: string
  readonly host: string
  readonly output: 'text' | 'json'
}

/** Runs the mesh until its time is over or a signal comes. Returns the exit code; throws an Error for people. */
export async function runUp(options: UpOptions, clock: Clock = systemClock): Promise<number> {
  if (isIP(options.host) === 0) throw new Error(`--host ${options.host}: expected an address, such as 127.0.0.1`)
  const folder = options.scenario === undefined ? undefined : await loadScenario(options.scenario, options.folder)
  if (folder !== undefined && !options.load)
    throw new Error('--no-load leaves a scenario nothing to do: drop one of the two')
  if (folder !== undefined) requireTime(folder, options.for)
  const display = await openDisplay(options.output, () => clock.wall())
  using stop = stopSignals((line) => display.progress(line))
  using later = await LaterPolicy.open(folder?.folder)
  const overlays = folder === undefined ? [] : [folder.policyFolder, later.folder]
  await using mesh = await Mesh.start({ ...options, overlays }, clock, display, stop.signal)
  const scenario = withRate(folder?.scenario ?? steady(mesh), options.rate)
  const view = new MeshView(mesh, display, clock, folder?.name ?? '')
  if (folder !== undefined) display.progress(`\n${folder.scenario.title}\n\n${folder.scenario.see.trim()}\n`)
  view.start()
  try {
    if (scenario === undefined || !options.load) {
      await sleepUnless(clock, options.for ?? foreverMs, stop.signal)
      return 0
    }
    const stage: Stage = {
      clock,
      target: (stream) => mesh.target(stream),
      act: (action) => ('apply' in action ? later.apply(action.apply) : mesh.switchApp(action)),
      appCounts: () => appCounts(mesh.workloads),
      phaseBegins: (phase, counting, tallies) =>
        view.phase(scenario.phases.length > 1 ? phase.name : '', counting, tallies),
    }
    if (options.for === undefined) {
      while (!stop.signal.aborted) {
        await later.reset()
        await runScenario(scenario, cycleMs(scenario), stage, stop.signal)
      }
      return 0
    }
    const before = await breakerTransitions(mesh.workloads)
    const records = await runScenario(scenario, options.for, stage, stop.signal)
    if (stop.signal.aborted) return 130
    const after = await breakerTransitions(mesh.workloads)
    const transitions = new Map([...after].map(([key, count]) => [key, count - (before.get(key) ?? 0)]))
    const checks = checkAll(scenario.expect, records, transitions)
    await view.stop()
    display.result(scenario.title, checks)
    if (checks.every(({ ok }) => ok)) return 0
    for (const line of explained(records)) display.progress(line)
    return 1
  } finally {
    await view.stop()
    display.progress('stopping')
  }
}

/** Without --for a scenario with phases begins anew after so long. */
const scenarioCycleMs = 30_000
const foreverMs = 24 * 3_600_000

function cycleMs({ phases }: Scenario): number {
  return phases.length > 1 ? scenarioCycleMs : foreverMs
}

/** Throws when the phases would settle for all of the time there is. */
function requireTime({ name, scenario }: ScenarioFolder, forMs: number | undefined): void {
  const settling = settleMs(scenario) / 1_000
  const seconds = (forMs ?? cycleMs(scenario)) / 1_000
  if (seconds > settling) return
  const given = forMs === undefined ? `a cycle of ${seconds}s` : `--for ${seconds}s`
  const enough = `${Math.max(20, 2 * settling)}s or longer${forMs === undefined ? ' with --for' : ''}`
  throw new Error(`${given} leaves nothing to count: scenario '${name}' settles for ${settling}s; give it ${enough}`)
}

/** What each stream of each phase really got: the first thing to ask when a check has failed. */
function explained(records: readonly PhaseRecord[]): string[] {
  return records.flatMap(({ name, tallies }) =>
    [...tallies].map(([stream, tally]) => {
      const reason = tally.commonest(reasonHeader)
      return `${name}, ${stream}: ${tally.summary()}${reason === undefined ? '' : ` (mostly ${reason})`}`
    }),
  )
}

/** What a folder without a scenario promises: its load is answered. */
function steady(mesh: Mesh): Scenario | undefined {
  const load = mesh.load
  if (load === undefined) return undefined
  return {
    title: `Steady traffic to ${load.url.host}`,
    see: '',
    load: [{ name: 'steady', url: load.url.href, rate: load.ratePerSecond, headers: {}, via: 'mesh' }],
    phases: [{ name: 'steady', share: 1, settle: 1, do: [] }],
    expect: [
      { bound: { that: 'requests were answered', atLeast: 1 }, measure: { measure: 'requests' } },
      { bound: { that: 'nobody saw an error', atMost: 0 }, measure: { measure: 'errorPercent' } },
    ],
  }
}

function withRate(scenario: Scenario | undefined, rate: number | undefined): Scenario | undefined {
  if (scenario === undefined || rate === undefined) return scenario
  const change = (streams: Scenario['load']): Scenario['load'] => streams.map((stream) => ({ ...stream, rate }))
  return {
    ...scenario,
    load: change(scenario.load),
    phases: scenario.phases.map((phase) => (phase.load === undefined ? phase : { ...phase, load: change(phase.load) })),
  }
}
