import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import type { Problem } from '../../src/api/documents/problem.ts'
import type { Clock } from '../../src/base/clock.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import type { StateFolder } from '../../src/base/state-folder.ts'

const goodText = z.object({
  text: z.string(),
  readAtMs: z.number(),
  keys: z.array(z.string()),
})
const goodFolder = z.object({
  files: z.record(z.string(), z.array(goodText)),
  gaps: z.array(z.string()),
  usedAtMs: z.number(),
})
const layout = z.object({ folders: z.record(z.string(), goodFolder) })

/** A text that was read: `readAtMs` is Unix milliseconds, `keys` its documents that are in force in this version. */
export type GoodText = Readonly<z.infer<typeof goodText>>

/**
 * What was in force of one folder: by path inside the folder the texts that said it (several, when a file has an error
 * and parts of it stay in force from older readings); and the gaps that the mesh lives with.
 */
export type GoodFolder = Readonly<Omit<z.infer<typeof goodFolder>, 'usedAtMs'>>

export const lastGoodLimits = {
  /** Of text, in UTF-16 units; a mesh of 10,000 documents has some 5 million. */
  textMax: 32 * 1_048_576,
  /** So that a state folder which serves several meshes in turn forgets none of them too soon. */
  foldersMax: 16,
}

/** The files themselves are the newest; what is kept here is for what will be wrong in them later. */
const quietMs = 250

const fileName = 'last-good-documents'
/** The first line: what it is, the version of the layout, SHA-256 of all that follows it. */
const headPattern = /^outrigger-documents (\d+) ([0-9a-f]{64})\n/
const layoutVersion = 1

export interface LastGoodStoreOptions {
  readonly state: StateFolder
  readonly clock: Clock
  readonly log: Log
  /** `problem` has changed. */
  readonly onProblem: () => void
}

/** On disk: the texts whose documents are in force, so that a restart puts nothing out of force. */
export class LastGoodStore {
  readonly #options: LastGoodStoreOptions
  readonly #path: string
  #folders = new Map<string, z.infer<typeof goodFolder>>()
  #damaged: Problem | undefined
  #unwritten: Problem | undefined
  #written = ''
  #pending: ReadonlyMap<string, GoodFolder> | undefined
  #writing: Promise<void> | undefined
  #writeNow = (): void => {}

  constructor(options: LastGoodStoreOptions) {
    this.#options = options
    this.#path = join(options.state.path, fileName)
  }

  /** What is wrong with the store: it was damaged at the start, or cannot be written now. */
  get problems(): Problem[] {
    return [this.#damaged, this.#unwritten].filter((problem) => problem !== undefined)
  }

  /** What was saved, by folder; empty when nothing was or when it is damaged, which is a problem from then on. */
  async load(): Promise<ReadonlyMap<string, GoodFolder>> {
    try {
      const bytes = await this.#options.state.read(fileName)
      if (bytes !== undefined) this.#folders = new Map(Object.entries(decode(bytes).folders))
    } catch (error) {
      this.#damaged = this.#warning(
        'last-good-damaged',
        `the last good documents were not used at the start: ${messageOf(error)}`,
      )
      this.#options.log.warn(this.#damaged.message, { 'file.path': this.#path })
    }
    return this.#folders
  }

  /** Writes these folders, and keeps those of other runs. What comes while it writes is one more writing after it. */
  save(folders: ReadonlyMap<string, GoodFolder>): void {
    this.#pending = folders
    // Later: to make one text of everything takes its time, and whoever waits for the change comes first.
    this.#writing ??= new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(quietMs, resolve)
      this.#writeNow = () => {
        timer.cancel()
        resolve()
      }
    })
      .then(() => this.#write())
      .finally(() => {
        this.#writing = undefined
      })
  }

  /** Resolves when all is written. */
  async close(): Promise<void> {
    this.#writeNow()
    await this.#writing
  }

  /** Never rejects: a full disk costs the copy, not what is in force. */
  async #write(): Promise<void> {
    while (this.#pending !== undefined) {
      const folders = this.#pending
      this.#pending = undefined
      let problem: Problem | undefined
      try {
        const { body, leftOut } = this.#encode(folders)
        if (body !== this.#written) await this.#options.state.write(fileName, sealed(body))
        this.#written = body
        if (leftOut > 0) {
          problem = this.#warning(
            'last-good-not-kept',
            `${leftOut} files are not kept for a restart: there is too much of them`,
          )
        }
      } catch (error) {
        problem = this.#warning('last-good-not-kept', `what is in force is not kept for a restart: ${messageOf(error)}`)
      }
      if (problem?.message === this.#unwritten?.message) continue
      if (problem !== undefined) this.#options.log.warn(problem.message, { 'file.path': this.#path })
      this.#unwritten = problem
      this.#options.onProblem()
    }
  }

  #encode(folders: ReadonlyMap<string, GoodFolder>): { body: string; leftOut: number } {
    for (const [path, { files, gaps }] of folders) {
      const before = this.#folders.get(path)
      // The time of use says which folder to forget; it is no reason to write again.
      const usedAtMs = before !== undefined && this.#written !== '' ? before.usedAtMs : this.#options.clock.wall()
      this.#folders.set(path, { files, gaps, usedAtMs })
    }
    const order = [...this.#folders].sort(
      ([a, one], [b, other]) => Number(folders.has(b)) - Number(folders.has(a)) || other.usedAtMs - one.usedAtMs,
    )
    this.#folders = new Map(order.slice(0, Math.max(lastGoodLimits.foldersMax, folders.size)))
    const kept: Record<string, z.infer<typeof goodFolder>> = {}
    let room = lastGoodLimits.textMax
    let leftOut = 0
    for (const [path, one] of this.#folders) {
      const files: Record<string, GoodText[]> = {}
      for (const [name, texts] of Object.entries(one.files)) {
        const length = texts.reduce((sum, { text }) => sum + text.length, 0)
        if (length <= room) {
          room -= length
          files[name] = texts
        } else if (folders.has(path)) leftOut++
      }
      kept[path] = { ...one, files: files as Record<string, z.infer<typeof goodText>[]> }
    }
    return { body: JSON.stringify({ folders: kept } satisfies z.infer<typeof layout>), leftOut }
  }

  #warning(code: string, message: string): Problem {
    return { severity: 'warning', code, file: this.#path, line: 1, column: 1, path: '', message }
  }
}

function sealed(body: string): string {
  return `outrigger-documents ${layoutVersion} ${createHash('sha256').update(body).digest('hex')}\n${body}`
}

function decode(bytes: Buffer): z.infer<typeof layout> {
  const head = headPattern.exec(bytes.toString('latin1', 0, 128))
  if (head === null) throw new Error('their file is damaged')
  if (head[1] !== String(layoutVersion)) throw new Error('they were written by another version of the program')
  const body = bytes.subarray(head[0].length)
  if (createHash('sha256').update(body).digest('hex') !== head[2]) throw new Error('their file is damaged')
  const result = layout.safeParse(JSON.parse(body.toString('utf8')))
  if (!result.success) throw new Error('their file is damaged')
  return result.data
}
