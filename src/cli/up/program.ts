import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Clock, Timer } from '../../base/clock.ts'
import { lastLines } from './log-tail.ts'
import type { OrphanGuard } from './orphan-guard.ts'

/** A process to keep running. */
export interface ProgramSpec {
  /** As people see it: `shop/web sidecar`. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Gets stdout and stderr. */
  readonly logFile: string
  /** What each new process reads from file descriptor 3, so that no secret stands in a command line. */
  readonly secret?: () => Promise<string>
}

/** An end that nobody asked for. */
export interface UnexpectedEnd {
  readonly program: string
  /** `exit code 1`, `SIGKILL`, or why it could not be started. */
  readonly cause: string
  readonly lastLines: readonly string[]
  readonly logFile: string
  readonly restartInMs: number
}

type State =
  | { readonly is: 'stopped' }
  | { readonly is: 'running'; readonly child: ChildProcess; readonly since: number }
  | { readonly is: 'waiting'; readonly timer: Timer }

/**
 * One child process in its own process group (a Ctrl-C in the terminal goes to us alone, and we end the children in
 * order). One that dies is started again, at first after half a second, later after up to ten.
 */
export class Program {
  readonly spec: ProgramSpec
  readonly #clock: Clock
  readonly #guard: OrphanGuard
  readonly #onUnexpectedEnd: (end: UnexpectedEnd) => void
  #state: State = { is: 'stopped' }
  #isWanted = false
  #deaths = 0

  constructor(spec: ProgramSpec, clock: Clock, guard: OrphanGuard, onUnexpectedEnd: (end: UnexpectedEnd) => void) {
    this.spec = spec
    this.#clock = clock
    this.#guard = guard
    this.#onUnexpectedEnd = onUnexpectedEnd
  }

  get pid(): number | undefined {
    return this.#state.is === 'running' ? this.#state.child.pid : undefined
  }

  async start(): Promise<void> {
    this.#isWanted = true
    await this.#spawn()
  }

  /** SIGTERM, and SIGKILL to what is left of the group after `graceMs`. Resolves when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#isWanted = false
    const state = this.#state
    if (state.is === 'waiting') state.timer.cancel()
    if (state.is !== 'running') {
      this.#state = { is: 'stopped' }
      return
    }
    const gone = new Promise<void>((resolve) => state.child.once('exit', () => resolve()))
    signalGroup(state.child, 'SIGTERM')
    const force = this.#clock.after(graceMs, () => signalGroup(state.child, 'SIGKILL'))
    await gone
    force.cancel()
  }

  async #spawn(): Promise<void> {
    const secret = await this.spec.secret?.()
    if (!this.#isWanted) return
    const { command, args, cwd, env, logFile } = this.spec
    const log = openSync(logFile, 'a', 0o600)
    const child = spawn(command, args, {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', log, log, ...(secret === undefined ? [] : (['pipe'] as const))],
    })
    closeSync(log)
    this.#state = { is: 'running', child, since: this.#clock.now() }
    if (child.pid !== undefined) this.#guard.watch(child.pid)
    if (secret !== undefined) handOver(child, secret)
    // Node emits 'error' and no 'exit' when the command could not be started.
    child.once('error', (error) => {
      if (child.pid === undefined) this.#ended(child, error.message)
    })
    child.once('exit', (code, signal) => this.#ended(child, signal ?? `exit code ${code}`))
  }

  #ended(child: ChildProcess, cause: string): void {
    const ranMs = this.#state.is === 'running' ? this.#clock.now() - this.#state.since : 0
    // What the process started itself must not outlive it; the group's number is ours until it is empty.
    signalGroup(child, 'SIGKILL')
    if (child.pid !== undefined) this.#guard.forget(child.pid)
    this.#state = { is: 'stopped' }
    if (!this.#isWanted) return
    this.#deaths = ranMs > steadyMs ? 0 : this.#deaths + 1
    const restartInMs = Math.min(restartMinMs * 2 ** Math.max(0, this.#deaths - 1), restartMaxMs)
    const timer = this.#clock.after(restartInMs, () => {
      this.#state = { is: 'stopped' }
      this.#spawn().catch((error: unknown) =>
        this.#ended(child, error instanceof Error ? error.message : String(error)),
      )
    })
    this.#state = { is: 'waiting', timer }
    const { name, logFile } = this.spec
    this.#onUnexpectedEnd({ program: name, cause, lastLines: lastLines(logFile, 5), logFile, restartInMs })
  }
}

function handOver(child: ChildProcess, secret: string): void {
  const pipe = child.stdio[3]
  if (pipe === null || pipe === undefined || !('end' in pipe)) return
  // A child that ended before it read is reported by its exit.
  pipe.on('error', () => {})
  pipe.end(secret)
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // ESRCH: the group is empty, which is what was wanted.
  }
}

const restartMinMs = 500
const restartMaxMs = 10_000
/** A process that ran this long was fine: its next death starts the back-off anew. */
const steadyMs = 30_000
