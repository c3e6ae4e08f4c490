import type { BigIntStats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** A file of a folder, and what tells one version of it from the next without reading it. */
export interface FileStamp {
  readonly path: string
  /** Changes with every write, also one that keeps size and mtime (ctime, inode). */
  readonly stamp: string
  readonly bytes: number
}

/** Folders deeper than this are a mistake (or a loop of mounts). */
const depthMax = 16
const isListed = /\.(ya?ml|json)$/

/**
 * The YAML and JSON files below `root`, in path order. Names that begin with a dot are left out: editors keep swap
 * files there, and a mounted ConfigMap its `..data` folders (its files are links to them, and links are followed).
 * Rejects when `root` itself cannot be read.
 */
export async function listFolder(root: string): Promise<FileStamp[]> {
  const found: FileStamp[] = []
  await walk(root, 0, found)
  return found.sort(byPath)
}

/**
 * The list that `listFolder` would make now, where since `before` nothing has changed but these files (paths relative to
 * `root`). Undefined when a name among them says nothing about one file: a folder, a link that others hang on, a hidden name.
 */
export async function relistFolder(
  root: string,
  before: readonly FileStamp[],
  touched: ReadonlySet<string>,
): Promise<FileStamp[] | undefined> {
  const list = new Map(before.map((file) => [file.path, file]))
  for (const name of touched) {
    const path = join(root, name)
    if (!isListed.test(name) || /(^|\/)\./.test(name) || name.split('/').length > depthMax) return undefined
    const stats = await stat(path, { bigint: true }).catch(ignoreGone)
    if (stats?.isDirectory()) return undefined
    if (stats?.isFile()) list.set(path, stampOf(path, stats))
    else list.delete(path)
  }
  return [...list.values()].sort(byPath)
}

async function walk(folder: string, depth: number, found: FileStamp[]): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true })
  // All at once: one after the other, hundreds of files are hundreds of turns of the event loop.
  await Promise.all(
    entries.map(async (entry) => {
      if (entry.name.startsWith('.')) return
      const path = join(folder, entry.name)
      if (entry.isDirectory()) {
        if (depth < depthMax) await walk(path, depth + 1, found).catch(ignoreGone)
      } else if (isListed.test(entry.name)) {
        // Gone between readdir and stat: the same as never listed.
        const stats = await stat(path, { bigint: true }).catch(ignoreGone)
        if (!stats?.isFile()) return
        found.push(stampOf(path, stats))
      }
    }),
  )
}

function stampOf(path: string, { ino, size, mtimeNs, ctimeNs }: BigIntStats): FileStamp {
  return { path, stamp: `${ino}:${size}:${mtimeNs}:${ctimeNs}`, bytes: Number(size) }
}

function byPath(a: FileStamp, b: FileStamp): number {
  return a.path < b.path ? -1 : 1
}

function ignoreGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
