/** A program that runs in a container and is spoken with, line by line. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Namespace } from './namespace.ts'
import { kubeconfig, program } from './state.ts'

export class PodProcess implements AsyncDisposable {
  readonly #title: string
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #errors: string[] = []
  readonly #closed: Promise<unknown>

  /** `target` as kubectl has it: `deployment/client`. */
  constructor(namespace: Namespace, target: string, container: string, command: readonly string[]) {
    this.#title = `${namespace.name} ${target}`
    const where = ['--namespace', namespace.name, 'exec', target, '--container', container, '--stdin']
    this.#child = spawn(program('kubectl'), [...where, '--', ...command], {
      env: { ...process.env, KUBECONFIG: kubeconfig },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => this.#errors.push(text))
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
    this.#closed = once(this.#child, 'close')
  }

  /** Its next line on stdout. Rejects, with what it said on stderr, when it has ended. */
  async line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done !== true) return value
    await this.#closed
    throw new Error(`${this.#title}: the program ended (${this.#child.exitCode})\n${this.#errors.join('')}`)
  }

  write(line: string): void {
    this.#child.stdin!.write(`${line}\n`)
  }

  /** No more is coming from here. */
  end(): void {
    this.#child.stdin!.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }
}
