/** One way through our engine to one upstream, used by one request after the other so that its pool is used again each time. */
import net from 'node:net'
import { type Relay, startRelay } from '../../support/http1-relay.ts'
import { converse } from '../../support/raw.ts'
import type { Arrived, Final } from './final.ts'

/** What the engine made of an input. */
export interface Passage {
  /** Requests that the engine sent on, in their order. */
  readonly sent: readonly { readonly method: string; readonly target: string }[]
  /** Answers at the client, in their order. */
  readonly answers: readonly { readonly status: number; readonly seen: string | undefined }[]
  /** Which of those that were sent have arrived whole at the end of the way; undefined: not. */
  readonly arrived: readonly (Arrived | undefined)[]
  readonly closed: boolean
  /** All that the client got. */
  readonly text: string
}

/** What takes so long is a fault, and not the machine's. */
const patienceMs = 60_000

export class Lane implements AsyncDisposable {
  readonly final: Final
  readonly #relay: Relay
  #mark = ''
  #steady: net.Socket | undefined
  #sent: { method: string; target: string }[] = []

  private constructor(final: Final, relay: (lane: Lane) => Relay) {
    this.final = final
    this.#relay = relay(this)
  }

  static async open(port: number, final: Final): Promise<Lane> {
    let lane: Lane | undefined
    const relay = await startRelay(port, {
      lines: ({ request }) => lane!.#stamp(request),
    })
    lane = new Lane(final, () => relay)
    return lane
  }

  #stamp(request: { readonly method: string; readonly target: string }): string {
    this.#sent.push({ method: request.method, target: request.target })
    return `x-input: ${this.#mark}.${this.#sent.length - 1}\r\n`
  }

  /** Sends the bytes on a connection of their own, and says that no more come. */
  async pass(mark: string, bytes: string): Promise<Passage> {
    this.#mark = mark
    this.#sent = []
    // What the relay keeps for tests is not looked at here.
    this.#relay.exchanges.length = 0
    this.#relay.refusals.length = 0
    const { text, closed } = await converse(net.connect(this.#relay.port, '127.0.0.1'), bytes, patienceMs)
    const sent = this.#sent
    const arrived = sent.map((_, i) => {
      const found = this.final.arrived.get(`${mark}.${i}`)
      this.final.arrived.delete(`${mark}.${i}`)
      return found
    })
    return { sent, answers: readAnswers(text, sent), arrived, closed, text }
  }

  /** A request through the same pool, on a client connection that stays: it must get its own answer, whatever went before. */
  async sentinel(mark: string): Promise<string | undefined> {
    this.#mark = `${mark}s`
    this.#sent = []
    const text = await this.#ask('GET /sentinel HTTP/1.1\r\nHost: app.test\r\n\r\n')
    this.final.arrived.delete(`${mark}s.0`)
    const [first, second] = readAnswers(text, this.#sent)
    if (first?.status === 200 && first.seen === `${mark}s.0` && second === undefined) return undefined
    return `the next request on this pool gets ${JSON.stringify(text)}`
  }

  /** What comes until an answer is whole; a connection that has ended is opened again for the next. */
  #ask(request: string): Promise<string> {
    if (this.#steady === undefined || this.#steady.destroyed)
      this.#steady = net.connect({ port: this.#relay.port, host: '127.0.0.1', noDelay: true })
    const socket = this.#steady
    return new Promise((resolve) => {
      let text = ''
      const timer = setTimeout(() => done(), patienceMs)
      const done = (): void => {
        clearTimeout(timer)
        socket.removeAllListeners()
        socket.on('error', () => {})
        if (!text.endsWith('\r\n\r\nok')) socket.destroy()
        resolve(text)
      }
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        if (text.endsWith('\r\n\r\nok')) done()
      })
      socket.on('error', done)
      socket.on('close', done)
      socket.write(request)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#steady?.destroy()
    await this.#relay[Symbol.asyncDispose]()
  }
}

/** The final answers in what a client got for requests of these methods. */
function readAnswers(text: string, sent: Passage['sent']): Passage['answers'] {
  const answers: { status: number; seen: string | undefined }[] = []
  let at = 0
  while (at < text.length) {
    const end = text.indexOf('\r\n\r\n', at)
    if (end === -1) break
    const head = text.slice(at, end + 2)
    at = end + 4
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0)
    if (status >= 100 && status < 200) continue
    const method = sent[answers.length]?.method
    answers.push({ status, seen: /^x-seen: (\S+)\r$/m.exec(head)?.[1] })
    if (status === 0) break
    if (method === 'HEAD' || status === 204 || status === 304) continue
    const length = /^content-length: (\d+)\r$/im.exec(head)?.[1]
    if (length !== undefined) at += Number(length)
    else if (/^transfer-encoding: chunked\r$/im.test(head)) {
      const last = text.indexOf('0\r\n\r\n', at)
      at = last === -1 ? text.length : last + 5
    } else break
  }
  return answers
}
