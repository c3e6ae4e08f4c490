import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** A line of `outrigger up -o json`. */
export interface UpLine {
  readonly type: 'picture' | 'event' | 'result'
  readonly message?: string
  readonly ok?: boolean
  readonly checks?: readonly { readonly that: string; readonly measured: string; readonly ok: boolean }[]
  readonly rows?: readonly {
    readonly from: string
    readonly to: string
    readonly requestsPerSecond: number
    readonly successPercent?: number
  }[]
  readonly connected?: number
  readonly sidecars?: number
  readonly revision?: number
  readonly refused?: readonly string[]
}

const root = join(import.meta.dirname, '../..')

/**
 * The examples in a folder of their own, on loopback addresses of their own (127.1.N.x), so that tests run beside each
 * other and beside a person's own `npm start`.
 */
export class ShopCopy implements Disposable {
  readonly folder: string
  readonly host: string
  readonly stateDir: string
  readonly #root = mkdtempSync(join(tmpdir(), 'outrigger-shop-'))
  readonly #net: string

  constructor(net: number) {
    this.#net = `127.1.${net}.`
    this.host = `${this.#net}1`
    cpSync(join(root, 'examples'), this.#root, { recursive: true })
    this.folder = join(this.#root, 'shop')
    this.stateDir = join(this.#root, 'state')
    for (const name of readdirSync(this.folder)) {
      if (name.endsWith('.yaml')) this.edit(name, (text) => text.replaceAll('127.1.0.', this.#net))
    }
  }

  /** `127.1.N.last`. */
  address(last: number): string {
    return `${this.#net}${last}`
  }

  /** Changes a file of the shop. */
  edit(file: string, change: (text: string) => string): void {
    const path = join(this.folder, file)
    writeFileSync(path, change(readFileSync(path, 'utf8')))
  }

  /** Takes the policies of a scenario away; its folder stays. */
  removePolicy(scenario: string): void {
    const folder = join(this.#root, 'scenarios', scenario, 'policy')
    for (const name of readdirSync(folder)) rmSync(join(folder, name))
  }

  /** Starts `outrigger up -o json` on the copy. */
  up(...flags: readonly string[]): UpProcess {
    return new UpProcess([this.folder, '--host', this.host, '--state-dir', this.stateDir, '-o', 'json', ...flags])
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true })
  }
}

/** A running `outrigger up`. */
export class UpProcess {
  readonly child: ChildProcess
  readonly lines: UpLine[] = []
  #stderr = ''
  #rest = ''
  readonly #ended: Promise<unknown>

  constructor(args: readonly string[]) {
    this.child = spawn(join(root, 'src/cli/outrigger'), ['up', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#ended = once(this.child, 'close')
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (this.#rest + chunk).split('\n')
      this.#rest = parts.pop() ?? ''
      this.lines.push(...parts.map((part) => JSON.parse(part) as UpLine))
    })
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr += chunk
    })
  }

  get stderr(): string {
    return this.#stderr
  }

  get result(): UpLine | undefined {
    return this.lines.find(({ type }) => type === 'result')
  }

  get pictures(): UpLine[] {
    return this.lines.filter(({ type }) => type === 'picture')
  }

  /** Resolves with the exit code. */
  async end(): Promise<number | null> {
    await this.#ended
    return this.child.exitCode
  }

  /** Waits for a line; throws with everything seen when it does not come or the process ends. */
  async line(what: string, wanted: (line: UpLine) => boolean, timeoutMs = 60_000): Promise<UpLine> {
    let found: UpLine | undefined
    await eventually(
      what,
      () => (found = this.lines.find(wanted)) !== undefined || this.child.exitCode !== null,
      timeoutMs,
    )
    if (found === undefined) throw new Error(`${what} never came; exit code ${this.child.exitCode}\n${this.#stderr}`)
    return found
  }

  /** Every process of this mesh, by what stands in its command line: pid -> command line. Linux only. */
  processes(): Map<number, string> {
    const mine = new Map<number, string>()
    for (const name of readdirSync('/proc')) {
      const pid = Number(name)
      if (!Number.isInteger(pid)) continue
      try {
        const parent = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
        if (parent !== this.child.pid) continue
        mine.set(pid, readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '))
      } catch {
        // Ended while it was being read.
      }
    }
    return mine
  }
}

/** True while the process is there and not only a name that nobody has fetched (a zombie). */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return false
  }
}

/** Asks every 20 ms until it is so; throws after `timeoutMs`. */
export async function eventually(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await delay(20)
  }
}
