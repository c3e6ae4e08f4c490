import { createHash } from 'node:crypto'
import {
  constants,
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
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
    removeDrafts(folder)
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
    const path = join(this.path, lockName)
    // Whoever took it from us by mistake, or by hand, keeps it.
    try {
      if (holderOf(readLock(path) ?? '')?.pid === process.pid) rmSync(path, { force: true })
    } catch {
      // A lock that cannot be read is not ours any more.
    }
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

const lockName = 'lock'
/** `lock`, then for each process whose lock is being taken over 16 digits of the hash of it. */
const guardName = /^lock(\.[0-9a-f]{16})+$/
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

/** Throws StateFolderError when another process holds it. */
function lock(folder: string): void {
  const path = join(folder, lockName)
  if (heldHere.has(folder)) throw locked(folder, process.pid)
  const own = join(folder, `${lockName}.${process.pid}.0.tmp`)
  const content = JSON.stringify({ pid: process.pid, born: bornOf(process.pid) } satisfies Holder)
  try {
    // More than once: whoever is clearing the lock of a process that is gone may leave again, or die over it.
    for (let round = 0; round < 10; round++) {
      const holder = take(path, own, content)
      if (holder === undefined) {
        heldHere.add(folder)
        return
      }
      if (holder !== 'contended') throw locked(folder, holder.pid)
      Atomics.wait(pause, 0, 0, 10)
    }
  } catch (error) {
    throw error instanceof StateFolderError ? error : problem(`lock ${folder}`, error)
  } finally {
    rmSync(own, { force: true })
  }
  throw new StateFolderError(`${folder} is being locked by another process: try again`)
}

/** Nobody ever notifies it: waiting on it is a pause of a function that must not return in between. */
const pause = new Int32Array(new SharedArrayBuffer(4))

/**
 * Makes the file at `path` ours: undefined when it is, else the living process whose it is, or `contended` when another
 * process is just taking it over.
 *
 * The file is written whole beside it (`own`) and then linked to its name: the link is made by one process only, and no
 * one ever sees a lock that does not say whose it is. The file of a process that is gone is replaced by whoever holds
 * the guard named for that very process and life, taken in the same way. Only its holder may touch the file, and the
 * file cannot change otherwise, for its owner is gone; so what is replaced is always what was looked at. (To move the
 * file away and look at it then is not enough: it may be that of someone faster, and while it is away a third takes the
 * name.)
 */
function take(path: string, own: string, content: string): Holder | 'contended' | undefined {
  writeFileSync(own, content, { mode: 0o600 })
  if (isLinked(own, path)) return undefined
  const found = readLock(path)
  // Given back just now.
  if (found === undefined) return 'contended'
  const holder = holderOf(found)
  if (holder !== undefined && isAlive(holder)) return holder
  const guard = `${path}.${createHash('sha256').update(found).digest('hex').slice(0, 16)}`
  if (take(guard, own, content) !== undefined) return 'contended'
  try {
    if (readLock(path) !== found) return 'contended'
    // A name of its own, for `own` and the guard may be one file, and rename does nothing between two names of one file.
    rmSync(own, { force: true })
    writeFileSync(own, content, { mode: 0o600 })
    renameSync(own, path)
    return undefined
  } finally {
    rmSync(guard, { force: true })
  }
}

function isLinked(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    if (noLinks.has(codeOf(error) ?? '')) return isCopied(from, to)
    throw error
  }
}

/** Some network and host-shared file systems have no links; there the lock is empty for a moment. */
const noLinks: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

function isCopied(from: string, to: string): boolean {
  try {
    copyFileSync(from, to, constants.COPYFILE_EXCL)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** What a process that was killed in the middle of a write left behind; only the holder of the lock writes. */
function removeDrafts(folder: string): void {
  try {
    for (const name of readdirSync(folder)) {
      // Guards are for locks that are no longer there: whoever takes one now finds ours and leaves.
      if (guardName.test(name)) rmSync(join(folder, name), { force: true })
      const pid = /\.(\d+)\.\d+\.tmp$/.exec(name)?.[1]
      if (pid === undefined) continue
      // Another process may be about to try the lock with it.
      if (name.startsWith(`${lockName}.`) && isAlive({ pid: Number(pid), born: '' })) continue
      rmSync(join(folder, name), { force: true })
    }
  } catch {
    // They cost space and nothing else.
  }
}

function readLock(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Undefined for what a process half wrote and died in. */
function holderOf(content: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(content)
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('born' in value)) return undefined
    if (!Number.isInteger(value.pid) || typeof value.born !== 'string') return undefined
    return { pid: Number(value.pid), born: value.born }
  } catch {
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
  if (isZombie(holder.pid)) return false
  const born = bornOf(holder.pid)
  return born === '' || holder.born === '' || born === holder.born
}

/**
 * It has ended, and only its parent has not asked how: where the first process of a container does not, it stays so for
 * ever.
 */
function isZombie(pid: number): boolean {
  return /^[ZX]/.test(statFields(pid)[0] ?? '')
}

/** Start time of a process since boot, field 22 of /proc/PID/stat (Linux), with the boot's id. */
function bornOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    const start = statFields(pid)[19]
    return start === undefined ? '' : `${boot} ${start}`
  } catch {
    return ''
  }
}

/** Fields of /proc/PID/stat from the third on; none where there is no such file. */
function statFields(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command in field 2 may hold spaces and parentheses: count from its end.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
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
