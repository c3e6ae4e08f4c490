/** Starts programs pinned to a CPU, waits until they serve, and ends them: only what was started here. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { request } from 'undici'
import { type Clock, sleep } from '../../src/base/clock.ts'
import { BenchFailure } from './failure.ts'
import type { Tools } from './tools.ts'

export interface Started {
  readonly name: string
  readonly pid: number
  /** Resolves when it is gone. */
  readonly gone: Promise<void>
  /** SIGTERM, then SIGKILL after 5 s; resolves when it is gone. */
  stop(): Promise<void>
  /** Why it is not running any more; undefined while it runs. */
  ended(): string | undefined
}

export interface StartOptions {
  readonly cpu: number
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  /** Its standard output goes nowhere: an access log would cost the reader CPU time. */
  readonly silent?: boolean
}

const stopMs = 5_000

export class Processes {
  readonly #clock: Clock
  readonly #tools: Pick<Tools, 'taskset'>
  /** In the order of their start. */
  readonly #running = new Set<Started>()
  #lasting: readonly Started[] = []

  constructor(clock: Clock, tools: Pick<Tools, 'taskset'>) {
    this.#clock = clock
    this.#tools = tools
  }

  /** Its standard error is kept (the last 4 KiB) and shown when it ends before it should. */
  start(name: string, command: readonly string[], options: StartOptions): Started {
    // taskset execs the command: the pid is the program's own, and every thread inherits the pinning.
    const child = spawn(this.#tools.taskset, ['-c', String(options.cpu), ...command], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', options.silent === true ? 'ignore' : 'pipe', 'pipe'],
    })
    let output = ''
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-4096)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    let end: string | undefined
    const gone = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        end = error.message
        resolve()
      })
      child.once('close', (code, signal) => {
        end = `${name} ended with ${signal ?? `code ${code}`}${output === '' ? '' : `:\n${output.trimEnd()}`}`
        resolve()
      })
    })
    const started: Started = {
      name,
      pid: child.pid ?? 0,
      gone,
      ended: () => end,
      stop: async () => {
        await this.#stop(child, gone)
        this.#running.delete(started)
      },
    }
    this.#running.add(started)
    return started
  }

  /**
   * Resolves with the body when `url` answers 200; throws when a process ended or `withinMs` have passed. It asks again
   * `pauseMs` after each answer that is none.
   */
  async ready(
    url: string,
    headers: Record<string, string>,
    by: readonly Started[],
    { withinMs = 60_000, pauseMs = 50 }: { readonly withinMs?: number; readonly pauseMs?: number } = {},
  ): Promise<string> {
    const until = this.#clock.now() + withinMs
    // A clock's timer does not keep this process alive: the end of the last child would end it, in silence.
    const pause = (): Promise<void> => Promise.race([sleep(this.#clock, pauseMs), ...by.map(({ gone }) => gone)])
    for (let last = 'no answer'; ; await pause()) {
      for (const started of by) {
        const end = started.ended()
        if (end !== undefined) throw new BenchFailure(end)
      }
      try {
        const response = await request(url, { headers, headersTimeout: 2_000 })
        const body = await response.body.text()
        if (response.statusCode === 200) return body
        const reason = response.headers['x-outrigger-reason']
        last = `${response.statusCode} ${reason === undefined ? body.slice(0, 200) : String(reason)}`
      } catch (error) {
        last = error instanceof Error ? error.message : String(error)
      }
      if (this.#clock.now() > until) {
        throw new BenchFailure(
          `${by.map((p) => p.name).join(', ')}: no 200 from ${url} in ${withinMs / 1000} s (${last})`,
        )
      }
    }
  }

  /** What runs now outlives the cells. */
  keepRunning(): void {
    this.#lasting = [...this.#running]
  }

  /** Stops what a cell started, last first: a sidecar before its control plane. */
  async stopCell(): Promise<void> {
    const started = [...this.#running].filter((it) => !this.#lasting.includes(it))
    for (const it of started.reverse()) await it.stop()
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((started) => started.stop()))
  }

  async #stop(child: ChildProcess, gone: Promise<void>): Promise<void> {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const kill = this.#clock.after(stopMs, () => void child.kill('SIGKILL'))
    await gone
    kill.cancel()
  }
}

/** Throws a BenchFailure that names the first port that somebody else has. */
export async function requireFreePorts(ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    await new Promise<void>((resolve, reject) => {
      const server = createServer()
      server.once('error', (error: NodeJS.ErrnoException) => {
        reject(
          new BenchFailure(
            `the bench needs 127.0.0.1:${port}: ${error.code}. Find its owner with: ss -ltnp 'sport = :${port}'`,
          ),
        )
      })
      server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve()))
    })
  }
}
