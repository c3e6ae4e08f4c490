/** The files of one image layer: from this machine, or written here. Owners become root, modes stay. */
import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'

export type Entry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly source: string }
  | { readonly kind: 'text'; readonly path: string; readonly mode: number; readonly text: string }

/** True for what belongs into the image; asked for folders, too. `file` is the path below the folder that is added. */
export type Keep = (file: string, isFolder: boolean) => boolean

export class Layer {
  readonly #entries = new Map<string, Entry>()

  /** Sorted by path, so that a folder comes before what is in it and the same files give the same bytes. */
  get entries(): readonly Entry[] {
    return [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
  }

  has(destination: string): boolean {
    return this.#entries.has(plain(destination))
  }

  folder(destination: string, mode = 0o755): this {
    const at = plain(destination)
    if (at === '') return this
    this.#parents(at)
    this.#entries.set(at, { kind: 'directory', path: at, mode })
    return this
  }

  text(destination: string, text: string, mode = 0o644): this {
    const at = plain(destination)
    this.#parents(at)
    this.#entries.set(at, { kind: 'text', path: at, mode, text })
    return this
  }

  link(destination: string, target: string): this {
    const at = plain(destination)
    this.#parents(at)
    this.#entries.set(at, { kind: 'link', path: at, target })
    return this
  }

  /** A file or a whole folder. A link named as `source` is followed; inside a folder, links stay links. */
  add(source: string, destination: string, keep: Keep = () => true): this {
    const real = realpathSync(source)
    const at = plain(destination)
    if (statSync(real).isDirectory()) this.#addFolder(real, at, '', keep)
    else this.#addFile(real, at)
    return this
  }

  /** The shared libraries that a program needs, at their own paths. */
  libraries(program: string): this {
    const listed = execFileSync('ldd', [program], { encoding: 'utf8' })
    const missing = [...listed.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1])
    if (missing.length > 0) throw new Error(`${program} needs ${missing.join(', ')}, not installed here`)
    for (const [, file] of listed.matchAll(/(\/\S+) \(0x/g)) this.add(file!, file!)
    return this
  }

  #addFolder(source: string, at: string, below: string, keep: Keep): void {
    for (const name of readdirSync(path.join(source, below)).sort()) {
      const file = below === '' ? name : `${below}/${name}`
      const found = lstatSync(path.join(source, file))
      if (!keep(file, found.isDirectory())) continue
      if (found.isDirectory()) this.#addFolder(source, at, file, keep)
      else if (found.isSymbolicLink()) this.link(`${at}/${file}`, readlinkSync(path.join(source, file)))
      else if (found.isFile()) this.#addFile(path.join(source, file), `${at}/${file}`)
    }
  }

  #addFile(source: string, at: string): void {
    this.#parents(at)
    // Readable by whatever user the container runs as; writable by nobody but root.
    const mode = (statSync(source).mode & 0o111) === 0 ? 0o644 : 0o755
    this.#entries.set(at, { kind: 'file', path: at, mode, source })
  }

  #parents(at: string): void {
    const parent = path.posix.dirname(at)
    if (parent !== '.' && !this.#entries.has(parent)) this.folder(parent)
  }
}

function plain(destination: string): string {
  return path.posix.normalize(destination).replaceAll(/^\/+|\/+$/g, '')
}
