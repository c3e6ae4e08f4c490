import { type FSWatcher, watch } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import type { Problem } from '../../src/api/documents/problem.ts'
import type { Clock, Timer } from '../../src/base/clock.ts'
import { Debounce } from './debounce.ts'
import { readPolicyFile, unreadableFolder } from './file-reading.ts'
import { type FileState, goneMs, nextFileState, type Reading } from './file-state.ts'
import { type FileStamp, listFolder } from './folder.ts'
import { mergeFolders } from './merge-folders.ts'
import type { HeldProblem, Source, SourceState } from './source.ts'

export interface FilesOptions {
  /** At least one. A later folder's document replaces an earlier one's of the same kind, namespace and name. */
  readonly folders: readonly string[]
  readonly clock: Clock
}

/** Events of one save come within a few milliseconds. */
const quietMs = 25
const quietMaxMs = 500
/** The net below the watch: network file systems and bind mounts lose events. */
const pollMs = 2_000

/** A file at its last reading. */
interface Known {
  /** '' once the file is gone. */
  readonly stamp: string
  readonly reading: Reading | undefined
  readonly state: FileState
}

interface Folder {
  readonly path: string
  files: ReadonlyMap<string, Known>
  problem: Problem | undefined
}

/** Documents from folders of YAML and JSON files, read again whenever a file changes. */
export class FilesSource implements Source {
  readonly name: string
  readonly #folders: readonly Folder[]
  readonly #clock: Clock
  readonly #debounce: Debounce
  readonly #listeners = new Set<(state: SourceState) => void>()
  #watchers: FSWatcher[] = []
  #poll: Timer | undefined
  #recheck: Timer | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = false
  #synced = false
  #current: SourceState = { documents: [], problems: [] }

  constructor({ folders, clock }: FilesOptions) {
    this.name = `files ${folders.join(' ')}`
    this.#folders = folders.map((path) => ({ path, files: new Map<string, Known>(), problem: undefined }))
    this.#clock = clock
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
    // Watches begin before the first reading, so that no change falls between the two.
    for (const folder of this.#folders) this.#watch(folder.path)
    await this.#readAll()
    const unreadable = this.#folders.find((folder) => folder.problem !== undefined)
    if (unreadable !== undefined) {
      await this.stop()
      throw new Error(`${unreadable.path}: ${unreadable.problem?.message}; name a folder of YAML files`)
    }
    this.#synced = true
    this.#poll = this.#clock.every(pollMs, () => this.#reload())
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
    for (const folder of this.#folders) await this.#readFolder(folder)
    if (this.#stopped) return
    this.#publish()
    this.#recheck?.cancel()
    const states = this.#folders.flatMap((folder) => [...folder.files.values()].map((file) => file.state))
    if (states.some((state) => state.goneSinceMs !== undefined)) {
      this.#recheck = this.#clock.after(goneMs, () => this.#reload())
    }
  }

  async #readFolder(folder: Folder): Promise<void> {
    let listed: FileStamp[]
    try {
      listed = await listFolder(folder.path)
    } catch (error) {
      // A folder that cannot be read says nothing about its documents: all of them stay in force.
      folder.problem = unreadableFolder(folder.path, error)
      return
    }
    folder.problem = undefined
    const files = new Map<string, Known>()
    for (const file of listed) files.set(file.path, await this.#readFile(file, folder.files.get(file.path)))
    for (const [path, known] of folder.files) {
      if (files.has(path)) continue
      const gone = this.#known('', undefined, known)
      if (gone.state.kept.length > 0) files.set(path, gone)
    }
    folder.files = files
  }

  async #readFile(file: FileStamp, before: Known | undefined): Promise<Known> {
    if (before?.stamp !== file.stamp) return this.#known(file.stamp, await readPolicyFile(file), before)
    return before.state.goneSinceMs === undefined ? before : this.#known(file.stamp, before.reading, before)
  }

  #known(stamp: string, reading: Reading | undefined, before: Known | undefined): Known {
    // Whoever is still writing has not finished deleting: the wait begins again.
    const from =
      before === undefined || before.stamp === stamp ? before?.state : { ...before.state, goneSinceMs: undefined }
    return { stamp, reading, state: nextFileState(from, reading, this.#clock.now()) }
  }

  #publish(): void {
    const files = this.#folders.map((folder) => [...folder.files.values()].map((file) => file.state))
    const { documents, problems } = mergeFolders(files)
    const all = [
      ...this.#folders.map((folder) => folder.problem),
      ...files.flat().flatMap((file) => file.problems),
      ...problems,
    ]
    const next = { documents, problems: this.#held(all.filter((problem) => problem !== undefined)) }
    if (this.#synced && sameState(this.#current, next)) return
    this.#current = next
    for (const listener of this.#listeners) listener(next)
  }

  /** The same problem in the next reading is the same problem: its time stands. */
  #held(problems: readonly Problem[]): HeldProblem[] {
    return problems.map((problem) => {
      const { file, path, message } = problem
      const same = this.#current.problems.find(
        ({ problem: p }) => p.file === file && p.path === path && p.message === message,
      )
      return { problem, sinceMs: same?.sinceMs ?? this.#clock.wall() }
    })
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { recursive: true, persistent: false }, () => this.#debounce.trigger())
      // Out of inotify watches, or the folder went away: the poll goes on finding changes, only later.
      watcher.on('error', () => watcher.close())
      this.#watchers.push(watcher)
    } catch {
      // As above. A folder that is not there at all is told by the first reading.
    }
  }
}

function sameState(a: SourceState, b: SourceState): boolean {
  const sameDocuments = a.documents.length === b.documents.length && a.documents.every((d, at) => d === b.documents[at])
  return sameDocuments && isDeepStrictEqual(a.problems, b.problems)
}
