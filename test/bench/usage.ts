/** What processes have used, read from /proc: the same source for every proxy, whatever it is written in. */
import { readdirSync, readFileSync } from 'node:fs'

/** Kernel's USER_HZ, the unit of CPU times in /proc: 100 on every Linux architecture that Node supports. */
const ticksPerSecond = 100

/**
 * CPU seconds of the processes, their threads and all their descendants, dead ones that were waited for
 * included. Resolution 10 ms.
 */
export function cpuSeconds(roots: readonly number[]): number {
  let ticks = 0
  for (const pid of withDescendants(roots)) {
    // user, system, and both of the children that were waited for: fields 14-17 of proc(5).
    for (const field of statFields(pid)?.slice(11, 15) ?? []) ticks += Number(field)
  }
  return ticks / ticksPerSecond
}

export interface Memory {
  /** Bytes, shared pages included: what `ps` and Kubernetes show. */
  readonly rss: number
  /** Bytes, each shared page divided among those that share it: the sum over processes is what a host gives. */
  readonly pss: number
  /** Bytes that no other process shares: what one more copy costs on the same host. */
  readonly uss: number
}

/** Memory of the processes and all their descendants, summed. */
export function memory(roots: readonly number[]): Memory {
  let rss = 0
  let pss = 0
  let uss = 0
  for (const pid of withDescendants(roots)) {
    const rollup = read(`/proc/${pid}/smaps_rollup`) ?? ''
    for (const [, name, kib] of rollup.matchAll(/^(Rss|Pss|Private_Clean|Private_Dirty):\s+(\d+) kB$/gm)) {
      const bytes = Number(kib) * 1024
      if (name === 'Rss') rss += bytes
      else if (name === 'Pss') pss += bytes
      else uss += bytes
    }
  }
  return { rss, pss, uss }
}

/** Open file descriptors of one process: sockets, files, pipes, timers of the kernel. */
export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** How many descriptors a process that this one starts may have. Node raises its own soft limit to the hard one. */
export function openFilesMax(): number {
  return Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 1024)
}

/** Seconds that a CPU has been busy since boot, whoever used it. */
export function busySeconds(cpu: number): number {
  const line = new RegExp(`^cpu${cpu} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? ''
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(' ').map(Number)
  return (user + nice + system + irq + softirq) / ticksPerSecond
}

function withDescendants(roots: readonly number[]): Set<number> {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    const parent = Number.isInteger(pid) ? statFields(pid)?.[1] : undefined
    if (parent !== undefined) parents.set(pid, Number(parent))
  }
  const tree = new Set(roots)
  for (let before = -1; before !== tree.size; ) {
    before = tree.size
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid)
  }
  return tree
}

/** Fields of /proc/PID/stat from the third on (state); the second may hold spaces and parentheses. */
function statFields(pid: number): string[] | undefined {
  const stat = read(`/proc/${pid}/stat`)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** A process may end between listing and reading. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
