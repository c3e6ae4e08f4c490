/** One thread, as the process sees it: how it is started, asked and told, and that it ends. */
import { type ResourceLimits, Worker } from 'node:worker_threads'
import type { PolicySource } from '../control/policy-source.ts'
import { PolicyFeed } from './policy-feed.ts'
import type { FromThread, Question, Questions, ThreadReport, ThreadStart, ToThread } from './protocol.ts'

export interface ThreadHandleOptions {
  readonly start: ThreadStart
  readonly resourceLimits: ResourceLimits
  readonly source: PolicySource
  /** All that is not about policy or an answer. */
  readonly onMessage: (message: FromThread) => void
  /** Once, whatever the reason. */
  readonly onEnd: (why: string) => void
}

interface Asked {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
}

/** The same file as source and as compiled. */
const program = new URL(import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js', import.meta.url)

export class ThreadHandle {
  readonly feed: PolicyFeed
  /** Accepts connections. */
  listening = false
  /** The latest that it gave. */
  report: ThreadReport | undefined
  readonly #worker: Worker
  readonly #options: ThreadHandleOptions
  readonly #asked = new Map<number, Asked>()
  #lastId = 0
  #why = 'it stopped by itself'
  #ended = false

  constructor(options: ThreadHandleOptions) {
    this.#options = options
    this.feed = new PolicyFeed(options.source, (serial, changes) => this.post({ is: 'policy', serial, changes }))
    this.#worker = new Worker(program, {
      workerData: options.start,
      resourceLimits: options.resourceLimits,
      name: `worker ${options.start.thread + 1}`,
    })
    this.#worker.on('message', (message: FromThread) => this.#take(message))
    this.#worker.on('error', (error: NodeJS.ErrnoException) => {
      this.#why = error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'out of memory' : (error.stack ?? String(error))
    })
    this.#worker.on('exit', (code) => this.#end(code === 0 ? this.#why : `${this.#why} (exit code ${code})`))
  }

  post(message: ToThread): void {
    if (!this.#ended) this.#worker.postMessage(message)
  }

  /** Rejects with the thread's own words, or if it ends before it answers. */
  ask<Q extends Question>(what: Q, ask: Questions[Q]['ask']): Promise<Questions[Q]['answer']> {
    if (this.#ended) return Promise.reject(this.#gone())
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#asked.set(id, { resolve, reject })
      this.post({ is: 'question', id, what, ask })
    })
  }

  /** Ends it at once; resolves when it is gone. */
  async terminate(): Promise<void> {
    this.#why = 'it was ended'
    await this.#worker.terminate()
  }

  #take(message: FromThread): void {
    switch (message.is) {
      case 'answer': {
        const { id, answer, error } = message
        const asked = this.#asked.get(id)
        this.#asked.delete(id)
        if (error === undefined) asked?.resolve(answer as never)
        else asked?.reject(new Error(error))
        return
      }
      case 'watch':
        this.feed.watch(message.name, message.wanted)
        return
      case 'applied':
        this.feed.applied(message.serial)
        return
      case 'dying':
        this.report = message.report
        this.#why = message.error.stack ?? String(message.error)
        return
      default:
        this.#options.onMessage(message)
    }
  }

  #end(why: string): void {
    this.#ended = true
    this.listening = false
    this.feed.close()
    for (const { reject } of this.#asked.values()) reject(this.#gone())
    this.#asked.clear()
    this.#options.onEnd(why)
  }

  #gone(): Error {
    return new Error(`worker ${this.#options.start.thread + 1} has ended: ${this.#why}`)
  }
}
