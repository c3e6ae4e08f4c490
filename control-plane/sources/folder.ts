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

/**
 * The YAML and JSON files below `root`, in path order. Names that begin with a dot are left out: editors keep swap
 * files there, and a mounted ConfigMap its `..data` folders (its files are links to them, and links are followed).
 * Rejects when `root` itself cannot be read.
 */
export async function listFolder(root: string): Promise<FileStamp[]> {
  const found: FileStamp[] = []
  await walk(root, 0, found)
  return found.sort((a, b) => (a.path < b.path ? -1 : 1))
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
      } else if (/\.(ya?ml|json)$/.test(entry.name)) {
        // Gone between readdir and stat: the same as never listed.
        const stats = await stat(path, { bigint: true }).catch(ignoreGone)
        if (!stats?.isFile()) return
        const stamp = `${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`
        found.push({ path, stamp, bytes: Number(stats.size) })
      }
    }),
  )
}

function ignoreGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
