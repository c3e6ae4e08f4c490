/** The traffic of one sidecar in several threads: starts them, replaces what dies, and speaks for all of them. */
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { getHeapStatistics } from 'node:v8'
import type { Stats } from '../admin/stats.ts'
import type { Resource } from '../api/gen/outrigger_pb.ts'
import { BackendRegistry } from '../balance/backends.ts'
import { clockOrigin, sleep } from '../base/clock.ts'
import type { LogLevel } from '../base/log.ts'
import { type SharedMemory, SharedTable, sharedMemory } from '../base/shared-table.ts'
import { Backoff } from '../control/backoff.ts'
import { type BackendsReport, type DataPlaneParts, doorsOf, type Way } from '../data-plane.ts'
import { checkResource } from '../destinations.ts'
import { checkWorkload } from '../inbound-policy.ts'
import { Listener } from '../listener/listener.ts'
import type { HostPort } from '../options.ts'
import { describeTo, OwnPolicy } from '../own-policy.ts'
import type { OutboundEnv } from '../policy/env.ts'
import type { Plane } from '../sidecar.ts'
import type { ByteSink } from '../telemetry/line-writer.ts'
import { addedUp, type Counted } from '../telemetry/merged.ts'
import { metricList } from '../telemetry/metrics.ts'
import { LineSink } from './line-sink.ts'
import { lastStats, mergedBackends, mergedStats } from './merge.ts'
import type { FromThread, ThreadReport } from './protocol.ts'
import { ThreadHandle } from './thread-handle.ts'

/** How old a thread's figures may be when it dies without last words (out of memory): what it counted since is lost. */
const reportEveryMs = 5_000
/** A thread that does not answer is stuck: others do not wait for it, and its last figures stand. */
const answerMs = 1_000
/** Beyond the time that work may take to end. */
const drainGraceMs = 2_000
/** A thread that lived this long was good: the next one starts at once. */
const goodAfterMs = 10_000
const restartMs = { first: 100, max: 10_000 } as const

export class WorkerPlane implements Plane {
  readonly own: OwnPolicy
  readonly addresses = new Map<string, HostPort>()
  readonly #parts: DataPlaneParts
  readonly #memory: SharedMemory
  readonly #table: SharedTable
  readonly #lines: LineSink
  readonly #channel = `outrigger ${randomUUID()}`
  readonly #origin = clockOrigin()
  readonly #threads: ThreadHandle[] = []
  readonly #backoff: Backoff
  readonly #checkEnv: OutboundEnv
  readonly #watchingCredentials: Disposable
  readonly #reporting
  /** Of threads that have died. */
  #buried: { readonly stats: Stats; readonly counted: Counted } | undefined
  #logLevel: LogLevel
  #retired = false
  #ending = false
  /** All have listened at one time. */
  #complete = false
  /** Once all listened and had policy; from then on one that is replaced is no reason to send callers away. */
  #wasReady = false

  /** Loads the threads; they take no traffic before `listen`. */
  constructor(parts: DataPlaneParts, stdout: ByteSink) {
    this.#parts = parts
    const { options, clock, source, telemetry, credentials } = parts
    this.own = new OwnPolicy(source, `${options.namespace}/${options.workload}`)
    describeTo(telemetry, this.own, credentials)
    this.#memory = sharedMemory(options.workers)
    this.#table = new SharedTable(this.#memory, options.workers, clock)
    this.#lines = new LineSink(stdout, clock)
    this.#backoff = new Backoff(clock, restartMs.first, restartMs.max)
    this.#logLevel = options.logLevel as LogLevel
    this.#checkEnv = {
      clock,
      backends: new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} }),
      send: () => Promise.reject(new Error('no traffic here')),
    }
    telemetry.metrics.workerRestarts.count([], 0)
    for (let thread = 0; thread < options.workers; thread++) this.#threads.push(this.#start(thread))
    this.#watchingCredentials = credentials.subscribe((held) => {
      for (const thread of this.#threads) thread.post({ is: 'credentials', credentials: held })
    })
    this.#reporting = clock.every(reportEveryMs, () => void this.#reports())
  }

  /** Throws if a part that will use the resource cannot compile it. */
  check(resource: Resource): void {
    const { options, clock } = this.#parts
    checkResource(resource, options.namespace, this.#checkEnv)
    if (resource.body.case === 'workload') checkWorkload(resource.body.value, { clock })
  }

  /** Each thread remembers what it dials itself; what the process dials (probes of the application) is never captured. */
  track(_socket: Socket): void {}

  reserve(name: string, at: HostPort): void {
    this.addresses.set(name, at)
    for (const thread of this.#threads) thread.post({ is: 'reserve', name, at })
  }

  async listen(): Promise<void> {
    await this.#probePorts()
    const [first, ...others] = this.#threads
    // Where any port will do, this one finds it.
    await this.#listen(first!)
    await Promise.all(others.map((thread) => this.#listen(thread)))
    this.#complete = true
  }

  unready(): string | undefined {
    const listening = this.#threads.filter((one) => one.listening).length
    if (listening < (this.#wasReady ? 1 : this.#threads.length))
      return `${listening} of ${this.#threads.length} workers listen`
    if (!this.#wasReady && !this.#threads.every(({ feed }) => feed.settled)) return 'the workers are taking over policy'
    this.#wasReady = true
    return undefined
  }

  whenInForce(): Promise<void> | undefined {
    if (this.#threads.every(({ feed }) => feed.settled)) return undefined
    // One that is stuck must not keep what others ask for from them: the control plane says nothing new until then.
    return this.#within(answerMs, Promise.all(this.#threads.map(({ feed }) => feed.whenSettled()))).then(() => {})
  }

  setLogLevel(level: LogLevel): void {
    this.#logLevel = level
    for (const thread of this.#threads) thread.post({ is: 'log-level', level })
  }

  retire(): void {
    this.#retired = true
    for (const thread of this.#threads) thread.post({ is: 'retire' })
  }

  /** A thread that hangs is ended when its time is over. */
  async drain(way: Way, timeoutMs: number): Promise<void> {
    this.#ending = true
    await Promise.all(
      this.#threads.map(async (thread) => {
        const drained = await this.#within(timeoutMs + drainGraceMs, thread.ask('drain', { way, timeoutMs }))
        if (drained === undefined) await thread.terminate()
      }),
    )
  }

  async close(): Promise<void> {
    this.#ending = true
    this.#reporting.cancel()
    this.#watchingCredentials[Symbol.dispose]()
    await Promise.all(
      this.#threads.map(async (thread) => {
        thread.report = (await this.#within(2 * drainGraceMs, thread.ask('close', {}))) ?? thread.report
        await thread.terminate()
      }),
    )
  }

  async stats(ready: { readonly ready: boolean; readonly reason: string }): Promise<Stats> {
    const reports = await this.#reports()
    const buried = this.#buried === undefined ? [] : [this.#buried.stats]
    return mergedStats(this.#parts.telemetry.stats(ready, []), [...buried, ...reports.map(({ stats }) => stats)])
  }

  async backends(): Promise<BackendsReport> {
    return mergedBackends((await this.#reports()).map(({ backends }) => backends))
  }

  async scrape(): Promise<string> {
    await this.#reports()
    return this.#parts.telemetry.scrape()
  }

  /** What the threads had counted at the last report. */
  *counted(): Iterable<Counted> {
    if (this.#buried !== undefined) yield this.#buried.counted
    for (const { report } of this.#threads) if (report !== undefined) yield report.counted
  }

  #start(thread: number): ThreadHandle {
    const { options, credentials, source, clock } = this.#parts
    const startedAt = clock.now()
    const handle = new ThreadHandle({
      start: {
        thread,
        options,
        memory: this.#memory,
        origin: this.#origin,
        channel: this.#channel,
        logLevel: this.#logLevel,
      },
      // Together they may use what the process may; one that wants more dies alone.
      resourceLimits: { maxOldGenerationSizeMb: Math.floor(heapMb() / options.workers) },
      source,
      onMessage: (message) => this.#take(handle, message),
      onEnd: (why) => this.#ended(handle, thread, why, clock.now() - startedAt),
    })
    handle.post({ is: 'credentials', credentials: credentials.current })
    if (this.#retired) handle.post({ is: 'retire' })
    return handle
  }

  async #listen(thread: ThreadHandle): Promise<void> {
    const bound = await thread.ask('listen', { addresses: [...this.addresses] })
    for (const [name, at] of bound) this.addresses.set(name, at)
    thread.listening = true
  }

  #ended(handle: ThreadHandle, thread: number, why: string, livedMs: number): void {
    this.#table.bury(thread)
    if (handle.report !== undefined) this.#bury(handle.report)
    handle.report = undefined
    if (this.#ending) return
    const { log, telemetry, clock } = this.#parts
    log.error(`worker ${thread + 1} has ended, its connections are lost: ${why}`)
    // Not even begun: `listen` rejects, and with it the start of the sidecar.
    if (!this.#complete) return
    telemetry.metrics.workerRestarts.count([])
    if (livedMs >= goodAfterMs) this.#backoff.reset()
    const waitMs = livedMs >= goodAfterMs ? 0 : this.#backoff.next()
    clock.after(waitMs, () => void this.#replace(thread))
  }

  async #replace(thread: number): Promise<void> {
    if (this.#ending) return
    const handle = this.#start(thread)
    this.#threads[thread] = handle
    try {
      // Its answer comes after its wishes. It must not take a connection before it knows what to do with it.
      await handle.ask('report', {})
      await handle.feed.whenSettled()
      await this.#listen(handle)
      // It may have missed the drain that has begun.
      if (this.#ending) await handle.terminate()
      else this.#parts.log.info(`worker ${thread + 1} is replaced`)
    } catch (error) {
      // Ended by now, it is replaced once more.
      this.#parts.log.error(`worker ${thread + 1} cannot listen: ${(error as Error).message}`)
      await handle.terminate()
    }
  }

  #bury({ stats, counted }: ThreadReport): void {
    const last: Counted = { ...counted, [metricList.inFlight.name]: [] }
    const before = this.#buried
    this.#buried =
      before === undefined
        ? { stats: lastStats(stats), counted: last }
        : { stats: mergedStats(before.stats, [lastStats(stats)]), counted: addedUp(before.counted, last) }
  }

  #take(handle: ThreadHandle, message: FromThread): void {
    switch (message.is) {
      case 'transition':
        this.#parts.onTransition(message.transition)
        break
      case 'ejection':
        this.#parts.onEjection(message.ejection)
        break
      case 'log': {
        const { level, name, message: text, fields } = message
        const log = name === '' ? this.#parts.log : this.#parts.log.named(name)
        log[level](text, fields)
        break
      }
      case 'lines': {
        const { id, bytes } = message
        this.#lines.write(bytes, (error) => handle.post({ is: 'written', id, error }))
        break
      }
    }
  }

  /** The latest of every thread. */
  async #reports(): Promise<ThreadReport[]> {
    await Promise.all(
      this.#threads.map(async (thread) => {
        thread.report = (await this.#within(answerMs, thread.ask('report', {}))) ?? thread.report
      }),
    )
    return this.#threads.map(({ report }) => report).filter((report) => report !== undefined)
  }

  /** Undefined if there is no answer, or not in time. */
  async #within<T>(ms: number, answer: Promise<T>): Promise<T | undefined> {
    return Promise.race([answer.catch(() => undefined), sleep(this.#parts.clock, ms).then(() => undefined)])
  }

  /**
   * With SO_REUSEPORT a second sidecar of the same user could bind our ports beside us and get half of the connections. So
   * each port is bound once without it, which fails as it does with one worker.
   */
  async #probePorts(): Promise<void> {
    const { options, clock } = this.#parts
    for (const { name, at } of doorsOf(options)) {
      if (at.port === 0) continue
      const probe = new Listener({
        name,
        host: at.host,
        port: at.port,
        clock,
        onConnection: (socket) => socket.destroy(),
      })
      try {
        await probe.listen()
      } catch (error) {
        if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'EADDRINUSE') throw error
        // Anything else the threads find as well, and know what to make of it.
      } finally {
        probe.close()
      }
    }
  }
}

function heapMb(): number {
  return getHeapStatistics().heap_size_limit / 1_048_576
}
