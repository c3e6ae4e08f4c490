import { type FSWatcher, watch } from 'node:fs'
import { resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { formatProblem } from '../../src/api/documents/format-problem.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import { type Clock, sleep, type Timer } from '../../src/base/clock.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import type { StateFolder } from '../../src/base/state-folder.ts'
import { Debounce } from './debounce.ts'
import { goneMs } from './file-state.ts'
import { LastGoodStore } from './last-good-store.ts'
import { mergeFolders } from './merge-folders.ts'
import { PolicyFolder } from './policy-folder.ts'
import type { Gap } from './protection.ts'
import { holdProblems, type Source, type SourceState } from './source.ts'

export interface FilesOptions {
  /** At least one. A later folder's document replaces an earlier one's of the same kind, namespace and name. */
  readonly folders: readonly string[]
  readonly clock: Clock
  /** Where the last good texts outlive the process; without it a restart starts from what reads then. */
  readonly state?: StateFolder
  readonly log?: Log
}

/** Events of one save come within a few milliseconds. */
const quietMs = 10
const quietMaxMs = 500
/** The net below the watch, and always a look at every file: network file systems and bind mounts lose events. */
const pollMs = 2_000

/** Documents from folders of YAML and JSON files, read again whenever a file changes. */
export class FilesSource implements Source {
  readonly name: string
  readonly #folders: readonly PolicyFolder[]
  readonly #clock: Clock
  readonly #log: Log
  readonly #store: LastGoodStore | undefined
  readonly #debounce: Debounce
  readonly #listeners = new Set<(state: SourceState) => void>()
  #watchers: FSWatcher[] = []
  #poll: Timer | undefined
  #recheck: Timer | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = false
  #synced = false
  /** Nothing blocks, or did once: from then on what is in force is known. */
  #released = false
  #current: SourceState = { documents: [], problems: [], blocking: [] }

  constructor({ folders, clock, state, log = silentLog }: FilesOptions) {
    this.name = `files ${folders.join(' ')}`
    this.#folders = folders.map((path) => new PolicyFolder(path, clock))
    this.#clock = clock
    this.#log = log.named('files')
    if (state !== undefined) {
      this.#store = new LastGoodStore({ state, clock, log: this.#log, onProblem: () => this.#storeChanged() })
    }
    this.#debounce = new Debounce(clock, quietMs, quietMaxMs, () => this.#reload())
  }

  get current(): SourceState {
    return this.#current
  }

  get synced(): boolean {
    return this.#synced
  }

  /** Rejects with an Error that names the folder when one cannot be read. */
  async start(): Promise<void> {
    const saved = await this.#store?.load()
    for (const folder of this.#folders) {
      const good = saved?.get(resolve(folder.path))
      if (good !== undefined) folder.remember(good)
    }
    // Watches begin before the first reading, so that no change falls between the two.
    for (const folder of this.#folders) this.#watch(folder)
    await this.#readFolders()
    const unreadable = this.#folders.find((folder) => folder.problem !== undefined)
    if (unreadable !== undefined) {
      await this.stop()
      throw new Error(`${unreadable.path}: ${unreadable.problem?.message}; name a folder of YAML files`)
    }
    // What an earlier run had and is gone now may be in the middle of a save, at the start as at any other time.
    if (this.#folders.some((folder) => folder.isWaiting)) {
      await sleep(this.#clock, goneMs)
      await this.#readFolders()
    }
    if (this.#stopped) throw new Error(`${this.name}: stopped before all of it was read`)
    this.#publish()
    this.#synced = true
    this.#poll = this.#clock.every(pollMs, () => {
      for (const folder of this.#folders) folder.touch(null)
      this.#reload()
    })
    this.#recheckLater()
    if (this.#again) this.#reload()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#debounce.cancel()
    this.#poll?.cancel()
    this.#recheck?.cancel()
    for (const watcher of this.#watchers) watcher.close()
    this.#watchers = []
    await this.#running
    await this.#store?.close()
  }

  subscribe(listener: (state: SourceState) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /** One reading at a time; what comes meanwhile is one more reading after it. */
  #reload(): void {
    if (this.#stopped) return
    if (this.#running !== undefined || !this.#synced) {
      this.#again = true
      return
    }
    this.#again = false
    this.#running = this.#readAll().finally(() => {
      this.#running = undefined
      if (this.#again) this.#reload()
    })
  }

  async #readAll(): Promise<void> {
    await this.#readFolders()
    if (this.#stopped) return
    this.#publish()
    this.#recheckLater()
  }

  async #readFolders(): Promise<void> {
    for (const folder of this.#folders) await folder.read()
  }

  #recheckLater(): void {
    this.#recheck?.cancel()
    if (this.#folders.some((folder) => folder.isWaiting)) {
      this.#recheck = this.#clock.after(goneMs, () => this.#reload())
    }
  }

  #publish(): void {
    const states = this.#folders.map((folder) => folder.states)
    const merged = mergeFolders(states)
    const gaps = this.#folders.map((folder) => folder.gaps(merged.problems))
    const opened = this.#folders.flatMap((folder, at) => gaps[at]!.filter((gap) => !folder.knows(gap)))
    if (opened.length === 0) this.#released = true
    const notes = this.#notes(this.#released ? [] : opened)
    const read = [
      ...this.#folders.map((folder) => folder.problem),
      ...states.flat().flatMap((file) => file.problems),
      ...merged.problems,
      ...(this.#store?.problems ?? []),
    ].filter((problem) => problem !== undefined)
    const noted = new Map(read.map((problem) => [problem, withNote(problem, notes.get(problem))]))
    const blocking = this.#released ? [] : [...new Set(opened.map(({ problem }) => noted.get(problem) ?? problem))]
    const problems = holdProblems(this.#current.problems, [...noted.values()], this.#clock.wall())
    const next = { documents: merged.documents, problems, blocking }
    if (this.#synced && sameState(this.#current, next)) return
    this.#tell(this.#current.blocking, blocking)
    this.#current = next
    // What is not in force yet must not pass for a last good version.
    if (this.#released) {
      this.#store?.save(new Map(this.#folders.map((folder, at) => [resolve(folder.path), folder.snapshot(gaps[at]!)])))
    }
    for (const listener of this.#listeners) listener(next)
  }

  /** While it starts or stops nobody would hear it. */
  #storeChanged(): void {
    if (this.#synced && !this.#stopped) this.#publish()
  }

  #notes(opened: readonly Gap[]): Map<Problem, string> {
    const notes = new Map<Problem, string>(this.#folders.flatMap((folder) => [...folder.lastGoodNotes()]))
    for (const [problem, gaps] of Map.groupBy(opened, (gap) => gap.problem)) {
      const what = gaps.map((gap) => gap.what).join(', ')
      const note = `there is no last good version of ${what}, and nothing is published before this is in order`
      notes.set(problem, [notes.get(problem), note].filter((part) => part !== undefined).join('; '))
    }
    return notes
  }

  #tell(before: readonly Problem[], now: readonly Problem[]): void {
    const told = new Set(before.map((problem) => formatProblem(problem)))
    for (const line of now.map((problem) => formatProblem(problem))) if (!told.has(line)) this.#log.error(line)
    if (before.length > 0 && now.length === 0) this.#log.info('the documents are in order: they are published now')
  }

  #watch(folder: PolicyFolder): void {
    try {
      const watcher = watch(folder.path, { recursive: true, persistent: false }, (_event, name) => {
        folder.touch(name)
        this.#debounce.trigger()
      })
      // Out of inotify watches, or the folder went away: the poll goes on finding changes, only later.
      watcher.on('error', () => watcher.close())
      this.#watchers.push(watcher)
    } catch {
      // As above. A folder that is not there at all is told by the first reading.
    }
  }
}

function withNote(problem: Problem, note: string | undefined): Problem {
  return note === undefined ? problem : { ...problem, message: `${problem.message}; ${note}` }
}

function sameState(a: SourceState, b: SourceState): boolean {
  const sameDocuments = a.documents.length === b.documents.length && a.documents.every((d, at) => d === b.documents[at])
  return sameDocuments && isDeepStrictEqual(a.problems, b.problems) && isDeepStrictEqual(a.blocking, b.blocking)
}
