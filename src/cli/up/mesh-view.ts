import type { Clock, Timer } from '../../base/clock.ts'
import { Latencies } from '../load/latencies.ts'
import type { Tally } from '../load/tally.ts'
import type { ClientView, Display } from './display.ts'
import type { Mesh } from './mesh.ts'
import type { Tallies } from './scenario-run.ts'
import { lookAtAll } from './sidecar-client.ts'
import { type Look, trafficRows } from './traffic-rows.ts'

/** Looks at all sidecars and the control plane every second, and has the display show what changed. */
export class MeshView {
  readonly #mesh: Mesh
  readonly #display: Display
  readonly #clock: Clock
  readonly #scenario: string
  #timer: Timer | undefined
  #looking: Promise<void> | undefined
  #look: Look | undefined
  #phase = ''
  #tallies: Tallies = new Map()
  #counted = { ended: 0, successes: 0 }

  /** `scenario` is its name; empty without one. */
  constructor(mesh: Mesh, display: Display, clock: Clock, scenario: string) {
    this.#mesh = mesh
    this.#display = display
    this.#clock = clock
    this.#scenario = scenario
  }

  start(): void {
    let ticks = 0
    const ended = (): void => {
      this.#looking = undefined
    }
    // The first look shows nothing: it is what the second one is compared with.
    this.#looking = this.#once(true).finally(ended)
    this.#timer = this.#clock.every(1_000, () => {
      ticks++
      // A look that takes longer than a second is not overtaken by the next one.
      this.#looking ??= this.#once(ticks % this.#display.everySeconds === 0).finally(ended)
    })
  }

  /** What the load is doing now. */
  phase(name: string, counting: boolean, tallies: Tallies): void {
    const parts = [this.#scenario, name].filter((part) => part !== '').join(': ')
    this.#phase = counting || parts === '' ? parts : `${parts} (settling)`
    this.#tallies = tallies
    this.#counted = { ended: 0, successes: 0 }
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#looking
  }

  async #once(isDue: boolean): Promise<void> {
    // Policy is asked every second in any case: a change is told when it comes, not with the next picture.
    await this.#mesh.policy.look()
    if (!isDue) return
    const look = await lookAtAll(this.#mesh.workloads, this.#clock)
    const before = this.#look
    this.#look = look
    const client = this.#client((look.atMs - (before?.atMs ?? 0)) / 1_000)
    if (before === undefined) return
    const { revision, refused } = this.#mesh.policy.state
    const meshed = this.#mesh.workloads.filter((workload) => workload.meshed).length
    const connected = [...look.stats.values()].filter(({ controlPlane }) => controlPlane.connected).length
    this.#display.picture({
      rows: trafficRows(before, look, (endpoint) => this.#mesh.podAt(endpoint)),
      client,
      revision,
      sidecars: meshed,
      connected,
      phase: this.#phase,
      refused,
    })
  }

  #client(seconds: number): ClientView | undefined {
    const tallies = [...this.#tallies.values()]
    if (tallies.length === 0) return undefined
    const now = { ended: sum(tallies, (tally) => tally.ended), successes: sum(tallies, (tally) => tally.successes) }
    const ended = now.ended - this.#counted.ended
    const successes = now.successes - this.#counted.successes
    this.#counted = now
    const latencies = tallies.map((tally) => tally.takeRecent()).reduce((all, some) => all.add(some), new Latencies())
    return {
      requestsPerSecond: ended / seconds,
      successPercent: ended === 0 ? undefined : (successes / ended) * 100,
      p50Ms: latencies.percentile(50),
      p99Ms: latencies.percentile(99),
    }
  }
}

function sum(tallies: readonly Tally[], value: (tally: Tally) => number): number {
  return tallies.reduce((total, tally) => total + value(tally), 0)
}
