/** Writes conditions into the status of routes and policies: the replica that holds the Lease does, and only what changed. */
import { isDeepStrictEqual } from 'node:util'
import { kindNames, kinds } from '../../src/api/policy/kinds.ts'
import type { Clock, Timer } from '../../src/base/clock.ts'
import type { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { comparisons, modelProblemLimits } from '../admin/model-problems.ts'
import { type Api, ApiError } from '../kubernetes/cluster.ts'
import { resourcePath } from '../kubernetes/resource-path.ts'
import { checkPolicies, checkPolicyTargets } from '../model/check-policies.ts'
import { indexDocuments } from '../model/document-index.ts'
import { type MeshModel, meshModel } from '../model/mesh-model.ts'
import { Debounce } from '../sources/debounce.ts'
import { hasConditions } from '../sources/kubernetes/read-object.ts'
import type { Kept, KubernetesSource } from '../sources/kubernetes/source.ts'
import { countAcks } from '../stream/acks.ts'
import type { Sidecars } from '../stream/sidecars.ts'
import { ackQuestion, sumAcks } from './acknowledgements.ts'
import { carriersOf, type Published } from './carriers.ts'
import type { Peers } from './peers.ts'
import { byOrigin } from './policy-status.ts'
import type { Acks } from './programmed.ts'
import { staleStatuses, type WantedStatus } from './statuses.ts'

export interface StatusWriterOptions {
  readonly api: Api
  readonly source: KubernetesSource
  readonly published: Published
  readonly sidecars: Pick<Sidecars, 'sessions'>
  readonly peers: Pick<Peers, 'ask'>
  readonly isLeader: Live<boolean>
  readonly clock: Clock
  readonly log: Log
}

export const statusLimits = {
  /** Publishing comes first; a rollout is many changes. */
  quietMs: 250,
  quietMaxMs: 1_000,
  /** How soon it looks again while sidecars have not answered yet, and else: answers and expiries tell nobody. */
  pendingMs: 2_000,
  idleMs: 15_000,
  /** At most 20 writes a second. */
  spacingMs: 50,
  /** A status of which only the words change, as when sidecars come and go, is not written more often than this. */
  wordsMs: 30_000,
  /** Statuses that are worked out in one go. */
  breath: 100,
  /** How long a write may take to come back by watch. */
  echoMs: 10_000,
} as const

interface Written {
  readonly at: number
  /** What was replaced: while the watch still shows it, the write has not come back. */
  readonly over: string
}

export class StatusWriter {
  readonly #options: StatusWriterOptions
  readonly #log: Log
  readonly #debounce: Debounce
  readonly #subscriptions: Disposable[]
  /** By uid. */
  readonly #written = new Map<string, Written>()
  /** Of the last round: the next one takes from it what did not change. */
  #model: MeshModel | undefined
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = false
  #restUntil = 0
  #told = ''

  private constructor(options: StatusWriterOptions) {
    const { clock, source, isLeader } = options
    this.#options = options
    this.#log = options.log.named('status')
    this.#debounce = new Debounce(clock, statusLimits.quietMs, statusLimits.quietMaxMs, () => this.#look())
    const trigger = (): void => this.#debounce.trigger()
    this.#subscriptions = [source.subscribe(trigger), isLeader.subscribe(trigger)]
  }

  static start(options: StatusWriterOptions): StatusWriter {
    const writer = new StatusWriter(options)
    writer.#debounce.trigger()
    return writer
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#debounce.cancel()
    this.#timer?.cancel()
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
    await this.#running
  }

  #look(): void {
    this.#timer?.cancel()
    if (this.#stopped || !this.#options.isLeader.current) return
    if (this.#running !== undefined) {
      this.#again = true
      return
    }
    this.#running = this.#round().then((nextMs) => {
      this.#running = undefined
      if (this.#stopped) return
      const { clock } = this.#options
      const waitMs = Math.max(this.#again ? statusLimits.quietMs : nextMs, this.#restUntil - clock.now())
      this.#again = false
      this.#timer = clock.after(waitMs, () => this.#look())
    })
  }

  /** Resolves with when to look again. Never rejects. */
  async #round(): Promise<number> {
    const { source, clock, published } = this.#options
    try {
      if (!source.synced) return statusLimits.pendingMs
      const { documents, problems: unread } = source.current
      const startedAt = clock.now()
      const model = meshModel(indexDocuments(documents, this.#model?.index), this.#model)
      this.#model = model
      await this.#breathe()
      const acks = this.#askOf(model)
      const isCheap = comparisons(documents) <= modelProblemLimits.comparisonsMax
      const problems = isCheap ? checkPolicies(model, clock.wall()) : checkPolicyTargets(model)
      // As the checks for /status: at most a tenth of the time.
      this.#restUntil = clock.now() + (clock.now() - startedAt) * modelProblemLimits.restFactor
      const known = await acks
      await this.#breathe()
      const stale = staleStatuses({
        objects: this.#objects(),
        model,
        unread: byOrigin(unread.map(({ problem }) => problem)),
        problems: byOrigin(problems),
        isPublished: published.synced,
        acks: known,
        now: new Date(clock.wall()).toISOString().replace(/\.\d+Z$/, 'Z'),
      })
      const wanted: WantedStatus[] = []
      for (const one of stale) if (wanted.push(one) % statusLimits.breath === 0) await this.#breathe()
      const isDone = await this.#writeAll(wanted)
      this.#forget()
      const isPending = [...known.values()].some(
        ({ sidecars, acked, unasked }) => acked < sidecars || unasked.length > 0,
      )
      return isPending || !isDone ? statusLimits.pendingMs : statusLimits.idleMs
    } catch (error) {
      this.#log.error('conditions could not be worked out', { error })
      return statusLimits.idleMs
    }
  }

  /** Sidecars and the API server come first. */
  #breathe(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(0, resolve))
  }

  *#objects(): Iterable<Kept> {
    for (const kind of kindNames) if (hasConditions(kind)) yield* this.#options.source.objects(kind)
  }

  async #askOf(model: MeshModel): Promise<ReadonlyMap<string, Acks>> {
    const { published, sidecars, peers, source } = this.#options
    const { request, keys } = ackQuestion(carriersOf(model, published), published)
    if (keys.length === 0) return new Map()
    const own = countAcks(sidecars.sessions(), request)
    const { answers, unasked } = await peers.ask(source.current.documents, request)
    return sumAcks(keys, [own, ...answers], unasked)
  }

  /** False: something is left to write. Stops when somebody else leads. */
  async #writeAll(stale: readonly WantedStatus[]): Promise<boolean> {
    const { clock, isLeader } = this.#options
    let isDone = true
    for (const wanted of stale) {
      if (this.#stopped || !isLeader.current) return true
      const due = this.#isDue(wanted)
      if (due && (await this.#write(wanted)))
        await new Promise<void>((resolve) => clock.after(statusLimits.spacingMs, resolve))
      else isDone = false
    }
    return isDone
  }

  #isDue({ object: { reading }, status }: WantedStatus): boolean {
    const written = this.#written.get(reading.uid)
    if (written === undefined) return true
    const ageMs = this.#options.clock.now() - written.at
    if (written.over === reading.written?.resourceVersion && ageMs < statusLimits.echoMs) return false
    return (
      ageMs >= statusLimits.wordsMs || !isDeepStrictEqual(wordless(reading.written?.status, status), wordless(status))
    )
  }

  /** False: it will be tried again. */
  async #write({ object: { reading }, status }: WantedStatus): Promise<boolean> {
    const { api, clock } = this.#options
    const { kind, namespace, name, uid, written } = reading
    const resourceVersion = written?.resourceVersion ?? ''
    try {
      await api.ask('PATCH', `${resourcePath(kinds[kind], namespace, name)}/status`, {
        query: { fieldManager: 'outrigger-status' },
        contentType: 'application/merge-patch+json',
        // A list is replaced as a whole: somebody else's new entry must not be lost.
        body: { metadata: { resourceVersion, uid }, status },
      })
      this.#written.set(uid, { at: clock.now(), over: resourceVersion })
      return true
    } catch (error) {
      const code = error instanceof ApiError ? error.status : 0
      // Changed meanwhile, or gone: the watch will say so.
      if (code === 409 || code === 404) return false
      const text = `the status of ${kind} ${namespace}/${name} cannot be written: ${messageOf(error)}`
      if (text !== this.#told) this.#log.warn(text)
      this.#told = text
      return false
    }
  }

  #forget(): void {
    const there = new Set([...this.#objects()].map(({ reading }) => reading.uid))
    for (const uid of this.#written.keys()) if (!there.has(uid)) this.#written.delete(uid)
  }
}

/** What programs read of a status, of the fields that `like` has. */
function wordless(status: unknown, like: unknown = status): unknown {
  const fields = (status ?? {}) as Readonly<Record<string, unknown>>
  const picked = Object.keys((like ?? {}) as object).map((name) => [name, fields[name]])
  return JSON.parse(
    JSON.stringify(Object.fromEntries(picked), (name, value: unknown) => (name === 'message' ? undefined : value)),
  )
}
