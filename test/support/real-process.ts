import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')

export interface RealProcessSpec {
  readonly name: string
  /** A program below the root of the tree. */
  readonly program: 'src/cli/outrigger' | 'src/cli/outrigger-node'
  /** Another tree that has it: what `npm run build` made. */
  readonly root?: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** A program as a process that can be killed and started again. Both shell scripts become the program they start. */
export class RealProcess {
  readonly spec: RealProcessSpec
  #child: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()
  #said = ''

  constructor(spec: RealProcessSpec) {
    this.spec = spec
  }

  /** The end of what it said in all its lives. */
  get said(): string {
    return this.#said
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error(`${this.spec.name} does not run`)
    return pid
  }

  /** `openFiles`: how many descriptors it may have (RLIMIT_NOFILE). */
  start(openFiles?: number): void {
    if (this.#child !== undefined) throw new Error(`${this.spec.name} runs`)
    const { program, args, env } = this.spec
    const from = this.spec.root ?? root
    // What this shell has set for a mesh of its own is not for ours; which Node it is stays.
    const inherited = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('OUTRIGGER_') || name.startsWith('OUTRIGGER_NODE'),
    )
    const command = [join(from, program), ...args]
    const limited =
      openFiles === undefined ? command : ['sh', '-c', `ulimit -n ${openFiles}; exec "$@"`, 'sh', ...command]
    const child = spawn(limited[0]!, limited.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...Object.fromEntries(inherited), ...env },
    })
    this.#child = child
    this.#ended = once(child, 'close')
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.#said = (this.#said + chunk).slice(-saidMax)
      })
    }
  }

  /** Resolves when it is gone; at once when it does not run. */
  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child?.kill(signal)
    await this.#ended
    this.#child = undefined
  }

  /** What came of it so far; throws with what it said if it has ended by itself. */
  checkAlive(): void {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${this.spec.name} does not run\n${this.#said}`)
    }
  }
}

const saidMax = 20_000

/** VmRSS of a process. Linux. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) * 1_024
}

/** Descriptors that a process has open. Linux. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}
