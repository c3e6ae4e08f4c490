import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Process } from './process.ts'
import { netnsPath } from './requirements.ts'

/** What crossed the wire. Every question stops the recording first. */
export class Packets {
  readonly #tcpdump: Process
  readonly #file: string
  #stopped = false

  constructor(tcpdump: Process, file: string) {
    this.#tcpdump = tcpdump
    this.#file = file
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
        '-Y',
        filter,
        '-T',
        'fields',
        '-E',
        'separator=|',
        ...names.flatMap((name) => ['-e', name]),
      ],
      { env: { ...process.env, PATH: netnsPath }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    )
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('|'))
  }

  async #stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    await this.#tcpdump.kill('SIGINT')
  }
}
