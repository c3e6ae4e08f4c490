/** Lets a socket that is already connected read into a buffer that is used again and again. */
import { Socket } from 'node:net'

/** Takes `bytes` bytes at the beginning of the buffer that was read into; false: stop reading until `resume()`. */
type Take = (bytes: number, buffer: Buffer) => boolean

/** Where Node keeps what `new net.Socket({ onread })` was given; undefined where it does not, in some later version. */
interface Slots {
  readonly buffer: symbol
  readonly callback: symbol
  /** A function that gives the buffer of the next read, or null. */
  readonly generator: symbol
}

interface Handle {
  useUserBuffer?(buffer: Buffer): void
}

type Inside = { _handle?: Handle | null } & Record<symbol, unknown>

/**
 * Node offers static read buffers (`onread`) to sockets that dial, not to those that a server accepts; yet both are
 * the same class on the same handle. Without one, each read costs an allocation of 64 KiB, a Buffer, and a walk
 * through the stream machinery: a fifth of what a request over TLS costs. The slots are found by what they hold in a
 * socket made for the purpose, so that a Node that has none is noticed and read from in the ordinary way.
 */
function findSlots(): Slots | undefined {
  const buffer = Buffer.alloc(1)
  const callback = (): boolean => true
  const probe = new Socket({ onread: { buffer, callback } } as object)
  const inside = probe as unknown as Inside
  const symbols = Object.getOwnPropertySymbols(probe)
  const bufferSlot = symbols.find((symbol) => inside[symbol] === buffer)
  const callbackSlot = symbols.find((symbol) => inside[symbol] === callback)
  probe.destroy()
  const generate = (): Buffer => buffer
  const other = new Socket({ onread: { buffer: generate, callback } } as object)
  const generatorSlot = symbols.find((symbol) => (other as unknown as Inside)[symbol] === generate)
  other.destroy()
  return bufferSlot === undefined || callbackSlot === undefined || generatorSlot === undefined
    ? undefined
    : { buffer: bufferSlot, callback: callbackSlot, generator: generatorSlot }
}

const slots: Slots | undefined = findSlots()

/** Reads of one socket that go past its stream, until `release()`. */
export class StaticReads {
  readonly #inside: Inside
  readonly #slots: Slots
  #released = false

  private constructor(inside: Inside, found: Slots) {
    this.#inside = inside
    this.#slots = found
  }

  /**
   * From now on what the socket reads lies in `buffer`, and `take` is told how much. What it had read before comes as
   * 'data' events first: listen to them too. Undefined where this socket cannot do so; then all comes as 'data'.
   */
  static begin(socket: Socket, buffer: Buffer, take: Take): StaticReads | undefined {
    const inside = socket as unknown as Inside
    const handle = inside._handle
    if (slots === undefined || typeof handle?.useUserBuffer !== 'function') return undefined
    const reads = new StaticReads(inside, slots)
    inside[slots.callback] = (bytes: number, into: Buffer): boolean =>
      // Nothing may overtake what still waits in the stream.
      reads.#released || socket.readableLength > 0
        ? socket.push(Buffer.from(into.subarray(0, bytes)))
        : take(bytes, into)
    inside[slots.buffer] = buffer
    handle.useUserBuffer(buffer)
    return reads
  }

  /** Where the next read goes. To be called by `take` only. */
  use(buffer: Buffer): void {
    const { generator } = this.#slots
    this.#inside[generator] = () => {
      this.#inside[generator] = null
      return buffer
    }
  }

  /** Where the next read goes, said at any time. */
  switchTo(buffer: Buffer): void {
    const inside = this.#inside
    inside[this.#slots.generator] = null
    inside[this.#slots.buffer] = buffer
    inside._handle?.useUserBuffer?.(buffer)
  }

  /** The socket becomes an ordinary stream again, for a new owner. */
  release(): void {
    this.#released = true
  }
}
