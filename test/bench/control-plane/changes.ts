import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Clock, sleep } from '../../../src/base/clock.ts'
import type { Fleet } from './fleet.ts'
import { keyOf, type Mesh } from './mesh.ts'
import { type Percentiles, percentiles } from './percentiles.ts'

export type ChangeKind = 'route' | 'policy' | 'endpoints'

const kinds: readonly ChangeKind[] = ['route', 'policy', 'endpoints']
/** Long enough for an answer that misses every goal to be told as a figure. */
const patienceMs = 60_000

/** Edits of the documents, each timed from the write of the file to the last acknowledgement of those whom it concerns. */
export class Changes {
  readonly #clock: Clock
  readonly #mesh: Mesh
  readonly #documents: string
  readonly #fleet: Fleet
  #mark = 0

  constructor(clock: Clock, mesh: Mesh, documents: string, fleet: Fleet) {
    this.#clock = clock
    this.#mesh = mesh
    this.#documents = documents
    this.#fleet = fleet
  }

  /** One after the other, of the kinds in turn. */
  async inTurn(count: number): Promise<Record<ChangeKind | 'all', Percentiles>> {
    const ms: Record<ChangeKind, number[]> = { route: [], policy: [], endpoints: [] }
    for (let at = 0; at < count; at += 1) {
      const kind = kinds[at % kinds.length]!
      ms[kind].push(await this.#make(kind, at))
      await this.#rest()
    }
    return {
      route: percentiles(ms.route),
      policy: percentiles(ms.policy),
      endpoints: percentiles(ms.endpoints),
      all: percentiles([...ms.route, ...ms.policy, ...ms.endpoints]),
    }
  }

  /** The kind that concerns everybody, one after the other. */
  async ofRoute(count: number): Promise<Percentiles> {
    const ms: number[] = []
    for (let at = 0; at < count; at += 1) {
      ms.push(await this.#make('route', at))
      await this.#rest()
    }
    return percentiles(ms)
  }

  /** A rolling restart: endpoints change at a steady rate, whether the change before has arrived or not. */
  async churn(perSecond: number, seconds: number): Promise<Percentiles> {
    const startedAt = this.#clock.now()
    const ms: Promise<number>[] = []
    for (let at = 0; at < perSecond * seconds; at += 1) {
      await sleep(this.#clock, Math.max(1, startedAt + (at * 1_000) / perSecond - this.#clock.now()))
      ms.push(this.#make('endpoints', at))
    }
    return percentiles(await Promise.all(ms))
  }

  async #make(kind: ChangeKind, at: number): Promise<number> {
    const mark = ++this.#mark
    const { name, file, text } = this.#edit(kind, at, mark)
    const acked = this.#fleet.whenAcked(name, mark, patienceMs)
    const startedAt = this.#clock.now()
    writeFileSync(file, text)
    await acked
    return this.#clock.now() - startedAt
  }

  #edit(kind: ChangeKind, at: number, mark: number): { name: string; file: string; text: string } {
    const mesh = this.#mesh
    // By sevens, so that neighbours are of different Services.
    const workload = mesh.workloads[(at * 7) % mesh.workloads.length]!
    const { service } = workload
    switch (kind) {
      case 'route':
        return {
          name: `service/${keyOf(0)}`,
          file: mesh.routeFile(this.#documents, 0),
          text: mesh.route(0, mark),
        }
      case 'policy':
        return {
          name: `workload/${workload.namespace}/${workload.name}`,
          file: path.join(this.#documents, 'policies', `guard-${workload.name}.yaml`),
          text: mesh.guard(workload, mark),
        }
      case 'endpoints':
        return {
          name: `endpoints/${keyOf(service)}`,
          file: mesh.endpointsFile(this.#documents, service),
          text: mesh.endpoints(service, mark),
        }
    }
  }

  /** About half a second, never in step with the control plane's own timers. */
  #rest(): Promise<void> {
    return sleep(this.#clock, 300 + 400 * this.#clock.random())
  }
}
