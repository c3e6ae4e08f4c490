import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { sleep, systemClock } from '../../src/base/clock.ts'
import { programPath } from '../support/programs.ts'
import type { Process } from './process.ts'

/** What crossed the wire. Every question stops the recording first. */
export class Packets {
  readonly #tcpdump: Process
  readonly #file: string
  readonly #sendSentinel: () => Buffer
  #stopped = false

  /** `sendSentinel` sends a packet and gives bytes by which it is known. */
  constructor(tcpdump: Process, file: string, sendSentinel: () => Buffer) {
    this.#tcpdump = tcpdump
    this.#file = file
    this.#sendSentinel = sendSentinel
  }

  /** True if the bytes appear in any packet, headers and all. */
  async contain(text: string): Promise<boolean> {
    await this.#stop()
    return readFileSync(this.#file).includes(text)
  }

  /** Fields of the packets that a display filter of Wireshark lets through, one row a packet; `more`: arguments of tshark. */
  async fields(filter: string, names: readonly string[], more: readonly string[] = []): Promise<string[][]> {
    await this.#stop()
    const text = execFileSync(
      'tshark',
      [
        '-r',
        this.#file,
        '-n',
        ...more,
        '-Y',
        filter,
        '-T',
        'fields',
        '-E',
        'separator=|',
        ...names.flatMap((name) => ['-e', name]),
      ],
      { env: { ...process.env, PATH: programPath }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    )
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('|'))
  }

  async #stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    // tcpdump drops what it has not read when it is stopped: it must have come as far as this.
    const last = this.#sendSentinel()
    for (let tries = 0; !readFileSync(this.#file).includes(last); tries++) {
      if (tries === 500) throw new Error(`tcpdump is not with the wire after 5 s\n${this.#tcpdump.said}`)
      await sleep(systemClock, 10)
    }
    await this.#tcpdump.kill('SIGINT')
  }
}
