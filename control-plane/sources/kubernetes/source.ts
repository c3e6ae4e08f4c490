/** Documents from a Kubernetes cluster. */
import { isDeepStrictEqual } from 'node:util'
import type { Document } from '../../../src/api/documents/document.ts'
import { formatProblem } from '../../../src/api/documents/format-problem.ts'
import type { Problem } from '../../../src/api/documents/problem.ts'
import { type Kind, type KindTraits, kindNames, kinds } from '../../../src/api/policy/kinds.ts'
import type { Clock } from '../../../src/base/clock.ts'
import type { Log } from '../../../src/base/log.ts'
import type { Api, ApiObject } from '../../kubernetes/cluster.ts'
import { resourcePath } from '../../kubernetes/resource-path.ts'
import { Debounce } from '../debounce.ts'
import { protects } from '../protection.ts'
import { holdProblems, type Source, type SourceState } from '../source.ts'
import { isSamePod, type ObjectReading, objectOrigin, readObject } from './read-object.ts'
import { Reflector, type ReflectorState } from './reflector.ts'

export interface KubernetesSourceOptions {
  readonly api: Api
  /** For status: the API server's URL. */
  readonly server: string
  readonly clock: Clock
  readonly log: Log
}

// As for files; a rollout changes Pods and EndpointSlices for minutes.
const quietMs = 25
const quietMaxMs = 250

/** One object: what it says now, and the last version of it that could be read. */
export interface Kept {
  readonly reading: ObjectReading
  readonly good: Document | undefined
}

/**
 * Services, EndpointSlices, Pods, Namespaces, ServiceAccounts, routes and policies of a whole cluster, by list and watch.
 * Nothing is published before every kind was listed. An object that is changed into something that cannot be read stays
 * in force as it was; only a restart forgets the version before (the API server has the newest only). What protects and
 * cannot be read at the start keeps everything from being published, as with files.
 */
export class KubernetesSource implements Source {
  readonly name: string
  readonly #options: KubernetesSourceOptions
  readonly #log: Log
  readonly #reflectors = new Map<Kind, Reflector<Kept>>()
  readonly #debounce: Debounce
  readonly #listeners = new Set<(state: SourceState) => void>()
  readonly #started = Promise.withResolvers<void>()
  #synced = false
  #released = false
  #stopped = false
  #waitingFor = ''
  #current: SourceState = { documents: [], problems: [], blocking: [] }

  constructor(options: KubernetesSourceOptions) {
    this.name = `cluster ${options.server}`
    this.#options = options
    this.#log = options.log.named('kubernetes')
    this.#debounce = new Debounce(options.clock, quietMs, quietMaxMs, () => this.#publish())
    for (const kind of kindNames) {
      this.#reflectors.set(
        kind,
        new Reflector<Kept>({
          api: options.api,
          path: resourcePath(kinds[kind] as KindTraits),
          clock: options.clock,
          // Pods that have ended are nobody's endpoint, and a cluster may keep thousands of them.
          ...(kind === 'Pod' ? { query: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' } } : {}),
          keep: (object, before) => keep(kind, object, before),
          onChange: () => this.#debounce.trigger(),
        }),
      )
    }
  }

  get current(): SourceState {
    return this.#current
  }

  get synced(): boolean {
    return this.#synced
  }

  /** How each kind is watched, for metrics. */
  *watches(): Iterable<{ readonly kind: Kind; readonly state: ReflectorState; readonly relists: number }> {
    for (const [kind, { state, relists }] of this.#reflectors) yield { kind, state, relists }
  }

  /** Every object of a kind as it was read last, in force or not: where conditions are written. */
  *objects(kind: Kind): Iterable<Kept> {
    yield* this.#reflectors.get(kind)?.values() ?? []
  }

  /** Resolves when every kind was listed once. While the API server cannot be reached it waits: it is asked again and again. */
  start(): Promise<void> {
    for (const reflector of this.#reflectors.values()) reflector.start()
    return this.#started.promise
  }

  stop(): Promise<void> {
    this.#stopped = true
    this.#debounce.cancel()
    for (const reflector of this.#reflectors.values()) reflector.stop()
    this.#started.reject(new Error(`${this.name}: stopped before all of it was read`))
    // Nobody may be waiting.
    this.#started.promise.catch(() => {})
    return Promise.resolve()
  }

  subscribe(listener: (state: SourceState) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  #publish(): void {
    if (this.#stopped) return
    const missing = [...this.#reflectors].filter(([, reflector]) => !reflector.synced)
    if (missing.length > 0) {
      this.#tellWaiting(missing)
      return
    }
    const documents: Document[] = []
    const problems: Problem[] = []
    const blocking: Problem[] = []
    for (const [kind, reflector] of this.#reflectors) {
      if (reflector.failure !== undefined) problems.push(notWatched(kind, reflector.failure))
      for (const { reading, good: document } of reflector.values()) {
        if (document !== undefined) documents.push(document)
        for (const problem of reading.problems) {
          const said = withNote(problem, this.#noteOf(reading, document))
          problems.push(said)
          if (document === undefined && protects(kind) && !this.#released) blocking.push(said)
        }
      }
    }
    if (blocking.length === 0) this.#released = true
    const { clock } = this.#options
    const next = { documents, problems: holdProblems(this.#current.problems, problems, clock.wall()), blocking }
    if (this.#synced && sameState(this.#current, next)) return
    this.#tellBlocking(this.#current.blocking, blocking)
    this.#current = next
    if (!this.#synced) {
      this.#synced = true
      const absent = [...this.#reflectors].filter(([, { absent }]) => absent).map(([kind]) => kind)
      if (absent.length > 0)
        this.#log.warn(`the cluster does not know ${absent.join(', ')}: their CRDs are not installed; asked again`)
      this.#started.resolve()
    }
    for (const listener of this.#listeners) listener(next)
  }

  #noteOf({ kind }: ObjectReading, good: Document | undefined): string {
    if (good !== undefined) return `version ${good.version} of it stays in force`
    return protects(kind) && !this.#released ? 'nothing is published before this is in order' : 'it is not in force'
  }

  #tellWaiting(missing: readonly (readonly [Kind, Reflector<Kept>])[]): void {
    const failed = missing.filter(([, { failure }]) => failure !== undefined)
    if (failed.length === 0) return
    const text = failed.map(([kind, { failure }]) => `${kind}: ${failure}`).join('; ')
    if (text === this.#waitingFor) return
    this.#waitingFor = text
    this.#log.error(`nothing is published before these can be listed (see the ClusterRole): ${text}`)
    const problems = failed.map(([kind, { failure }]) => notWatched(kind, failure ?? ''))
    const held = holdProblems(this.#current.problems, problems, this.#options.clock.wall())
    this.#current = { ...this.#current, problems: held, blocking: this.#synced ? [] : problems }
  }

  #tellBlocking(before: readonly Problem[], now: readonly Problem[]): void {
    const told = new Set(before.map((problem) => formatProblem(problem)))
    for (const line of now.map((problem) => formatProblem(problem))) if (!told.has(line)) this.#log.error(line)
  }
}

/**
 * The version that reads is in force; one that does not leaves the one before in force, of the same object (a name that was
 * deleted and made again is another). A new version that says the same is no change: most are of a status.
 */
function keep(kind: Kind, object: ApiObject, before: Kept | undefined): Kept {
  if (kind === 'Pod' && before !== undefined && isSamePod(object, before.reading)) return before
  const reading = readObject(kind, object)
  const known = before?.reading.uid === reading.uid ? before : undefined
  if (
    known !== undefined &&
    known.reading.generation === reading.generation &&
    isDeepStrictEqual(known.reading.document?.value, reading.document?.value) &&
    isDeepStrictEqual(known.reading.problems, reading.problems)
  ) {
    return reading.written === undefined
      ? known
      : { reading: { ...known.reading, written: reading.written }, good: known.good }
  }
  return { reading, good: reading.document ?? known?.good }
}

function notWatched(kind: Kind, failure: string): Problem {
  const message = `${kind} objects cannot be watched, what was read last stays in force: ${failure}`
  const place = { file: objectOrigin(kind, '', '*'), line: 0, column: 0, path: '' }
  return { severity: 'error', code: 'unreadable', ...place, message }
}

function withNote(problem: Problem, note: string): Problem {
  return { ...problem, message: `${problem.message}; ${note}` }
}

function sameState(a: SourceState, b: SourceState): boolean {
  return (
    a.documents.length === b.documents.length &&
    a.documents.every((document, at) => document === b.documents[at]) &&
    isDeepStrictEqual(a.problems, b.problems) &&
    isDeepStrictEqual(a.blocking, b.blocking)
  )
}
