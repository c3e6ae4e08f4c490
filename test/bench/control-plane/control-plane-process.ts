import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Tokens } from '../../../control-plane/identity/token.ts'
import type { Clock } from '../../../src/base/clock.ts'
import { port } from '../ports.ts'
import type { Processes, Started } from '../processes.ts'
import { cpuSeconds, memory } from '../usage.ts'
import { Fleet } from './fleet.ts'

export interface ControlPlaneProcessOptions {
  readonly clock: Clock
  readonly processes: Processes
  readonly cpu: number
  readonly workFolder: string
  /** Of YAML. */
  readonly documents: string
}

const command = fileURLToPath(new URL('../../../dist/src/cli/outrigger', import.meta.url))
const trustDomain = 'bench.test'
const readyMs = 60_000

/** The control plane as it is shipped, on a CPU of its own. */
export class ControlPlaneProcess {
  readonly #options: ControlPlaneProcessOptions
  readonly #stateFolder: string
  #started: Started | undefined
  #rssMax = 0
  /** Of those that were killed. */
  #cpuBefore = 0

  constructor(options: ControlPlaneProcessOptions) {
    this.#options = options
    this.#stateFolder = path.join(options.workFolder, 'state')
  }

  /** Resolves when its documents are published. */
  async start(): Promise<void> {
    const { processes, cpu, workFolder, documents } = this.#options
    const flags = {
      'state-dir': this.#stateFolder,
      'stream-port': String(port.control),
      'admin-port': String(port.controlAdmin),
      'trust-domain': trustDomain,
      'log-level': 'warn',
    }
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
    this.#started = processes.start('control plane', [command, 'control-plane', 'run', '-f', documents, ...args], {
      cpu,
      cwd: workFolder,
    })
    await processes.ready(`http://127.0.0.1:${port.controlAdmin}/healthz`, {}, [this.#started], { withinMs: readyMs })
  }

  /** Without a chance to say goodbye. */
  async kill(): Promise<void> {
    this.#cpuBefore = this.cpuSeconds()
    process.kill(this.#pid, 'SIGKILL')
    await this.#started?.stop()
  }

  async stop(): Promise<void> {
    await this.#started?.stop()
  }

  /** Sidecars that know its root and have tokens of it. */
  async fleet(): Promise<Fleet> {
    const { clock } = this.#options
    const tokens = await Tokens.read(this.#stateFolder, clock)
    return new Fleet({
      clock,
      port: port.control,
      rootPem: readFileSync(path.join(this.#stateFolder, 'root.pem'), 'utf8'),
      token: (workload) => tokens.make(workload, trustDomain),
    })
  }

  cpuSeconds(): number {
    return this.#cpuBefore + cpuSeconds([this.#pid])
  }

  rssMb(): number {
    const mb = memory([this.#pid]).rss / 1e6
    this.#rssMax = Math.max(this.#rssMax, mb)
    return mb
  }

  /** The highest that was looked at. */
  get rssMbMax(): number {
    return this.#rssMax
  }

  get #pid(): number {
    return this.#started?.pid ?? 0
  }
}
