import { write } from 'node:fs'
import type { Clock, Timer } from '../base/clock.ts'

/** Takes bytes and says when it has taken them; one write at a time. */
export interface ByteSink {
  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, written: number) => void): void
}

/**
 * A file descriptor, written off the event loop. `process.stdout.write` on a pipe is synchronous on Linux: a reader
 * that stalls would stop all traffic.
 */
export function descriptorSink(fd: number): ByteSink {
  return { write: (bytes, done) => write(fd, bytes, 0, bytes.length, null, (error, written) => done(error, written)) }
}

const flushEveryMs = 100
const flushBytes = 16_384
const retryMs = 50
const bufferedBytesMax = 1_048_576

/** Buffers lines and writes them in the background. When the sink does not keep up, new lines are dropped and counted. */
export class LineWriter {
  dropped = 0
  readonly #sink: ByteSink
  readonly #clock: Clock
  #lines: string[] = []
  #bytes = 0
  #timer: Timer | undefined
  #writing: { bytes: Buffer; lines: number } | undefined
  #broken = false
  #idle: (() => void)[] = []

  constructor(sink: ByteSink, clock: Clock) {
    this.#sink = sink
    this.#clock = clock
  }

  /** `line` is ASCII, without its newline. */
  add(line: string): void {
    if (this.#broken || this.#bytes + line.length + 1 > bufferedBytesMax) {
      this.dropped++
      return
    }
    this.#lines.push(line)
    this.#bytes += line.length + 1
    if (this.#bytes >= flushBytes) this.#flush()
    else this.#timer ??= this.#clock.after(flushEveryMs, () => this.#flush())
  }

  /** Resolves when all that was added has been written, or cannot be. */
  async flushed(): Promise<void> {
    this.#flush()
    if (this.#writing === undefined && this.#lines.length === 0) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#writing !== undefined || this.#lines.length === 0) return
    const lines = this.#lines
    this.#lines = []
    this.#writing = { bytes: Buffer.from(`${lines.join('\n')}\n`, 'latin1'), lines: lines.length }
    this.#write()
  }

  #write(): void {
    const writing = this.#writing!
    this.#sink.write(writing.bytes, (error, written) => this.#wrote(error, written))
  }

  #wrote(error: NodeJS.ErrnoException | null, written: number): void {
    const writing = this.#writing!
    if (error?.code === 'EAGAIN') {
      // A pipe that another process made non-blocking is full.
      this.#clock.after(retryMs, () => this.#write())
      return
    }
    if (error !== null) {
      // The reader is gone for good (EPIPE, EBADF): the mesh goes on without its log.
      this.dropped += writing.lines + this.#lines.length
      this.#broken = true
      this.#lines = []
      this.#bytes = 0
      this.#finish()
      return
    }
    this.#bytes -= written
    if (written < writing.bytes.length) {
      writing.bytes = writing.bytes.subarray(written)
      this.#write()
      return
    }
    this.#finish()
  }

  #finish(): void {
    this.#writing = undefined
    if (this.#lines.length > 0) {
      this.#flush()
      return
    }
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}
