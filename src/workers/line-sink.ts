import type { Clock } from '../base/clock.ts'
import type { ByteSink } from '../telemetry/line-writer.ts'

/** A pipe that another process made non-blocking is full: again after this long. */
const retryMs = 50

interface Job {
  bytes: Buffer
  readonly done: (error: string | undefined) => void
}

/** Several writers of whole lines on one descriptor: what one of them hands over is written whole before the next. */
export class LineSink {
  readonly #sink: ByteSink
  readonly #clock: Clock
  readonly #jobs: Job[] = []

  constructor(sink: ByteSink, clock: Clock) {
    this.#sink = sink
    this.#clock = clock
  }

  write(bytes: Uint8Array, done: (error: string | undefined) => void): void {
    this.#jobs.push({ bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), done })
    if (this.#jobs.length === 1) this.#next()
  }

  #next(): void {
    const job = this.#jobs[0]
    if (job === undefined) return
    this.#sink.write(job.bytes, (error, written) => {
      if (error?.code === 'EAGAIN') {
        this.#clock.after(retryMs, () => this.#next())
        return
      }
      job.bytes = job.bytes.subarray(written)
      if (error === null && job.bytes.length > 0) {
        this.#next()
        return
      }
      this.#jobs.shift()
      job.done(error === null ? undefined : (error.code ?? error.message))
      this.#next()
    })
  }
}
