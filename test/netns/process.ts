import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { systemClock } from '../../src/base/clock.ts'

/** Nothing here takes longer on a machine that works. */
const waitMs = 20_000

/** A process whose output is awaited line by line. */
export class Process {
  readonly title: string
  readonly #child: ChildProcess
  readonly #out = new Lines()
  readonly #error = new Lines()
  readonly #closed: Promise<unknown>

  constructor(title: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.title = title
    this.#child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#closed = once(this.#child, 'close')
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#out.add(line))
    createInterface({ input: this.#child.stderr! }).on('line', (line) => this.#error.add(line))
  }

  /** The first line of stdout, now or later, that matches. Rejects with all it said if it ends or takes too long. */
  line(pattern: RegExp): Promise<string> {
    return this.#wait(this.#out, pattern)
  }

  /** The same of stderr. */
  error(pattern: RegExp): Promise<string> {
    return this.#wait(this.#error, pattern)
  }

  get said(): string {
    return [...this.#out.all, ...this.#error.all].join('\n')
  }

  /** Waits for its end; rejects if it failed. Gives stdout. */
  async done(): Promise<string> {
    await this.#inTime(this.#closed, 'its end')
    if (this.#child.exitCode !== 0) throw new Error(`${this.title}: exit ${this.#child.exitCode}\n${this.said}`)
    return this.#out.all.join('\n')
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async kill(name: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(name)
    await this.#closed
  }

  #wait(lines: Lines, pattern: RegExp): Promise<string> {
    const ended = this.#closed.then(() => {
      throw new Error(`${this.title} ended before it said ${pattern}\n${this.said}`)
    })
    return this.#inTime(Promise.race([lines.find(pattern), ended]), String(pattern))
  }

  async #inTime<T>(wanted: Promise<T>, what: string): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = systemClock.after(waitMs, () =>
      late.reject(new Error(`${this.title}: waited ${waitMs} ms for ${what}\n${this.said}`)),
    )
    try {
      return await Promise.race([wanted, late.promise])
    } finally {
      timer.cancel()
    }
  }
}

class Lines {
  readonly all: string[] = []
  #waiting: { pattern: RegExp; resolve: (line: string) => void }[] = []

  add(line: string): void {
    this.all.push(line)
    this.#waiting = this.#waiting.filter(({ pattern, resolve }) => {
      if (!pattern.test(line)) return true
      resolve(line)
      return false
    })
  }

  find(pattern: RegExp): Promise<string> {
    const known = this.all.find((line) => pattern.test(line))
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((resolve) => this.#waiting.push({ pattern, resolve }))
  }
}
