import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** What is wrong with a state folder, in one line that names the remedy. */
export class StateFolderError extends Error {
  override readonly name = 'StateFolderError'
}

/** `$XDG_STATE_HOME/outrigger`, by default `~/.local/state/outrigger` (XDG base directory specification). */
export function defaultStateFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment['XDG_STATE_HOME']
  return join(base === undefined || base === '' ? join(homedir(), '.local', 'state') : base, 'outrigger')
}

/**
 * Where a process keeps what must outlive it: keys, certificates, the last good policy. The folder is 0700 and its
 * files 0600; one process at a time holds it.
 */
export class StateFolder implements Disposable {
  readonly path: string
  #open = true
  #writes = 0

  private constructor(path: string) {
    this.path = path
  }

  /** Makes the folder if need be and locks it. Throws StateFolderError. */
  static open(path: string): StateFolder {
    const folder = resolve(path)
    prepare(folder)
    lock(folder)
    return new StateFolder(folder)
  }

  /** The file's bytes; undefined when there is none. Throws StateFolderError when it cannot be read. */
  readSync(name: string): Buffer | undefined {
    try {
      return readFileSync(join(this.path, name))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw problem(`read ${join(this.path, name)}`, error)
    }
  }

  async read(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.path, name))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw problem(`read ${join(this.path, name)}`, error)
    }
  }

  /** All or nothing: after a crash the file holds the old bytes or the new ones, never a mixture. */
  async write(name: string, bytes: Uint8Array | string): Promise<void> {
    const target = join(this.path, name)
    const draft = `${target}.${process.pid}.${this.#writes++}.tmp`
    try {
      const file = await open(draft, 'wx', 0o600)
      try {
        await file.writeFile(bytes)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(draft, target)
    } catch (error) {
      await rm(draft, { force: true }).catch(() => {})
      throw problem(`write ${target}`, error)
    }
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.path, name), { force: true })
  }

  /** Gives the folder back. Its files stay. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    heldHere.delete(this.path)
    rmSync(join(this.path, lockName), { force: true })
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

const lockName = 'lock'
/** Folders that this very process holds: a control plane and sidecars may share one process in tests. */
const heldHere = new Set<string>()

function prepare(folder: string): void {
  try {
    makeFolder(folder)
    const stat = statSync(folder)
    if (!stat.isDirectory()) throw new StateFolderError(`${folder} is not a folder: choose another with --state-dir`)
    const user = process.getuid?.()
    if (user !== undefined && user !== 0 && stat.uid !== user) {
      throw new StateFolderError(`${folder} belongs to user ${stat.uid}: choose another folder with --state-dir`)
    }
    // Keys lie in here: whoever else can write to it could replace them, whoever can read it could be us.
    if ((stat.mode & 0o077) !== 0) {
      throw new StateFolderError(
        `${folder} is open to other users: run 'chmod 700 ${folder}', or choose another with --state-dir`,
      )
    }
  } catch (error) {
    throw error instanceof StateFolderError ? error : problem(`use ${folder}`, error)
  }
}

/** Not mkdir's own `recursive`: that one never returns where a parent cannot be made and says ENOENT, as in /proc. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT' || dirname(folder) === folder) throw error
    makeFolder(dirname(folder))
    mkdirSync(folder, { mode: 0o700 })
  }
}

interface Holder {
  readonly pid: number
  /** What tells this process from a later one with the same pid; '' where the system does not say. */
  readonly born: string
}

function lock(folder: string): void {
  const path = join(folder, lockName)
  if (heldHere.has(folder)) throw locked(folder, process.pid)
  // Twice: the second time after a lock of a process that is gone was cleared.
  for (let round = 0; round < 2; round++) {
    try {
      const file = openSync(path, 'wx', 0o600)
      writeFileSync(file, JSON.stringify({ pid: process.pid, born: bornOf(process.pid) } satisfies Holder))
      fsyncSync(file)
      closeSync(file)
      heldHere.add(folder)
      return
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw problem(`lock ${folder}`, error)
    }
    const holder = readHolder(path)
    if (holder !== undefined && isAlive(holder)) throw locked(folder, holder.pid)
    rmSync(path, { force: true })
  }
  throw new StateFolderError(`${folder} is being locked by another process: try again`)
}

function readHolder(path: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('born' in value)) return undefined
    if (!Number.isInteger(value.pid) || typeof value.born !== 'string') return undefined
    return { pid: Number(value.pid), born: value.born }
  } catch {
    // Half-written by a process that died in it, or gone by now.
    return undefined
  }
}

function isAlive(holder: Holder): boolean {
  // A lock with our own pid that we do not hold is of an earlier life (in a container the pid is the same each time).
  if (holder.pid === process.pid) return false
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
  const born = bornOf(holder.pid)
  return born === '' || holder.born === '' || born === holder.born
}

/** Start time of a process since boot, field 22 of /proc/PID/stat (Linux), with the boot's id. */
function bornOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command in field 2 may hold spaces and parentheses: count from its end.
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
    return `${boot} ${start}`
  } catch {
    return ''
  }
}

function locked(folder: string, pid: number): StateFolderError {
  return new StateFolderError(
    `${folder} is in use by process ${pid}: stop it, or choose another folder with --state-dir`,
  )
}

function problem(doing: string, cause: unknown): StateFolderError {
  const code = codeOf(cause)
  const why =
    code === 'EACCES' || code === 'EPERM'
      ? 'no permission: make it writable for this user, or choose another folder with --state-dir'
      : code === 'EROFS'
        ? 'the file system is read-only: choose another folder with --state-dir'
        : code === 'ENOSPC' || code === 'EDQUOT'
          ? 'the disk is full: free some space'
          : code === 'ENOTDIR' || code === 'EEXIST'
            ? 'a part of the path is a file: choose another folder with --state-dir'
            : cause instanceof Error
              ? cause.message
              : String(cause)
  return new StateFolderError(`cannot ${doing}: ${why}`, { cause })
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
