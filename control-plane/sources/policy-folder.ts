import { join, relative } from 'node:path'
import type { Document } from '../../src/api/documents/document.ts'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import type { Clock } from '../../src/base/clock.ts'
import { documentKey } from '../model/document-key.ts'
import { readPolicyFile, unreadableFolder } from './file-reading.ts'
import { type FileState, nextFileState, type Reading } from './file-state.ts'
import { type FileStamp, listFolder, relistFolder } from './folder.ts'
import type { GoodFolder, GoodText } from './last-good-store.ts'
import { fileGaps, type Gap, twinGaps } from './protection.ts'

/** A file at its last reading. */
interface Known {
  /** '' once the file is gone. */
  readonly stamp: string
  readonly reading: Reading | undefined
  readonly state: FileState
}

type Origin = Omit<GoodText, 'keys'>

/** The files of one folder: what was read last, and what of older readings is in force still. */
export class PolicyFolder {
  readonly path: string
  readonly #clock: Clock
  /** The text that each document in force was read from. */
  readonly #origins = new WeakMap<Document, Origin>()
  #files: ReadonlyMap<string, Known> = new Map()
  #listed: readonly FileStamp[] | undefined
  /** What may have changed since the last reading, relative to the folder; undefined: any file. */
  #touched: Set<string> | undefined
  #remembered: GoodFolder | undefined
  #knownGaps: ReadonlySet<string> = new Set()
  #problem: Problem | undefined

  constructor(path: string, clock: Clock) {
    this.path = path
    this.#clock = clock
  }

  /** Why the folder cannot be listed now. */
  get problem(): Problem | undefined {
    return this.#problem
  }

  get states(): FileState[] {
    return [...this.#files.values()].map((file) => file.state)
  }

  /** Documents are gone that may come back within moments. */
  get isWaiting(): boolean {
    return this.states.some((state) => state.goneSinceMs !== undefined)
  }

  /** What an earlier run had in force; to be called before the first reading, which goes on from there. */
  remember(saved: GoodFolder): void {
    this.#remembered = saved
    this.#knownGaps = new Set(saved.gaps)
  }

  /** The next reading looks at this file (a path relative to the folder), or when null at every file. */
  touch(name: string | null): void {
    if (name === null) this.#touched = undefined
    else this.#touched?.add(name)
  }

  /** Reads what has changed of what was touched; the first time everything. */
  async read(): Promise<void> {
    const touched = this.#touched
    this.#touched = new Set()
    let listed: readonly FileStamp[]
    try {
      listed =
        (touched && this.#listed && (await relistFolder(this.path, this.#listed, touched))) ??
        (await listFolder(this.path))
      this.#listed = listed
    } catch (error) {
      this.#listed = undefined
      // A folder that cannot be read says nothing about its documents: all of them stay in force.
      this.#problem = unreadableFolder(this.path, error)
      return
    }
    this.#problem = undefined
    const readings = new Map<string, { stamp: string; reading: Reading | undefined }>()
    for (const file of listed) {
      const before = this.#files.get(file.path)
      const reading = before?.stamp === file.stamp ? before.reading : await this.#readFile(file)
      readings.set(file.path, { stamp: file.stamp, reading })
    }
    this.#recall(readings)
    const refused = new Set([...readings.values()].flatMap(({ reading }) => reading?.refused.map(documentKey) ?? []))
    const files = new Map<string, Known>()
    for (const [path, { stamp, reading }] of readings) {
      files.set(path, this.#next(stamp, reading, this.#files.get(path), refused))
    }
    for (const [path, before] of this.#files) {
      if (readings.has(path)) continue
      const gone = this.#next('', undefined, before, refused)
      if (gone.state.kept.length > 0) files.set(path, gone)
    }
    this.#files = files
  }

  /** What is written here, protects, and is in force in no version. `merged`: the problems between all files. */
  gaps(merged: readonly Problem[]): Gap[] {
    const inForce = new Set(this.states.flatMap(({ read, kept }) => [...read, ...kept].map(documentKey)))
    const gaps = [...this.#files].flatMap(([path, { reading, state }]) =>
      reading === undefined ? [] : fileGaps(relative(this.path, path), reading, state.kept, (key) => inForce.has(key)),
    )
    return [...gaps, ...twinGaps(merged.filter(({ file }) => this.#files.has(file)))]
  }

  /** True when an earlier run lived with this gap: it is not the restart that opens it. */
  knows(gap: Gap): boolean {
    return this.#knownGaps.has(gap.id)
  }

  /** For the first error of each file: which older version is in force for what it spoils. */
  lastGoodNotes(): Map<Problem, string> {
    const notes = new Map<Problem, string>()
    const kept = this.states.flatMap((state) => state.kept)
    for (const { reading, state } of this.#files.values()) {
      const error = state.problems.find(({ severity }) => severity === 'error')
      if (error === undefined) continue
      const refused = new Set(reading?.refused.map(documentKey))
      const spoiled = kept.filter((document) => state.kept.includes(document) || refused.has(documentKey(document)))
      if (spoiled.length > 0) notes.set(error, this.#lastGood(spoiled))
    }
    return notes
  }

  /** What a later run must remember. */
  snapshot(gaps: readonly Gap[]): GoodFolder {
    const files: GoodFolder['files'] = {}
    for (const [path, { state }] of this.#files) {
      const texts = Map.groupBy([...state.read, ...state.kept], (document) => this.#origins.get(document))
      const good = [...texts].flatMap(([origin, documents]) =>
        origin === undefined ? [] : [{ ...origin, keys: documents.map(documentKey) }],
      )
      if (good.length > 0) files[relative(this.path, path)] = good
    }
    return { files, gaps: gaps.map(({ id }) => id) }
  }

  async #readFile(file: FileStamp): Promise<Reading | undefined> {
    const reading = await readPolicyFile(file)
    if (reading?.text !== undefined) {
      const { text } = reading
      const seen = this.#remembered?.files[relative(this.path, file.path)]?.find((good) => good.text === text)
      this.#from({ text, readAtMs: seen?.readAtMs ?? this.#clock.wall() }, reading.documents)
    }
    return reading
  }

  #from(origin: Origin, documents: readonly Document[]): void {
    for (const document of documents) this.#origins.set(document, origin)
  }

  /** Makes the files of an earlier run those that were read before this first time. */
  #recall(readings: ReadonlyMap<string, { readonly reading: Reading | undefined }>): void {
    if (this.#remembered === undefined) return
    const files = new Map<string, Known>()
    for (const [name, texts] of Object.entries(this.#remembered.files)) {
      const path = join(this.path, name)
      const [only, ...others] = texts
      // The common case: nothing happened meanwhile, so there is nothing to compare.
      if (others.length === 0 && only?.text === readings.get(path)?.reading?.text) continue
      const read = texts.flatMap(({ text, readAtMs, keys }) => {
        const documents = loadDocuments([{ path, text }]).documents.filter((document) =>
          keys.includes(documentKey(document)),
        )
        this.#from({ text, readAtMs }, documents)
        return documents
      })
      files.set(path, {
        stamp: '',
        reading: undefined,
        state: { read, kept: [], problems: [], goneSinceMs: undefined },
      })
    }
    this.#files = files
    this.#remembered = undefined
  }

  #next(stamp: string, reading: Reading | undefined, before: Known | undefined, refused: ReadonlySet<string>): Known {
    const isSame = before !== undefined && before.stamp === stamp
    if (isSame && before.state.goneSinceMs === undefined && before.state.kept.length === 0 && stamp !== '')
      return before
    // Whoever is still writing has not finished deleting: the wait begins again.
    const from = before === undefined || isSame ? before?.state : { ...before.state, goneSinceMs: undefined }
    return { stamp, reading, state: nextFileState(from, reading, this.#clock.now(), (key) => refused.has(key)) }
  }

  #lastGood(documents: readonly Document[]): string {
    const byTime = Map.groupBy(documents, (document) => this.#origins.get(document)?.readAtMs ?? 0)
    const parts = [...byTime].map(([readAtMs, some]) => {
      const names = some.slice(0, namesMax).map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`)
      if (some.length > namesMax) names.push(`${some.length - namesMax} more`)
      return `last good of ${new Date(readAtMs).toISOString()} in force for ${names.join(', ')}`
    })
    return parts.join('; ')
  }
}

const namesMax = 3
