/**
 * The kernel's calls for one thread that sends at exact times: Node's timers know whole milliseconds only, and its
 * sockets cost more than a request that is to be measured. Linux.
 */
import koffi from 'koffi'

const AF_INET = 2
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0o2000000
const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const POLLIN = 1
const EAGAIN = 11
const PR_SET_TIMERSLACK = 29
/** Bytes of struct pollfd: int fd, short events, short revents. */
const pollFdBytes = 8

const libc = koffi.load(null)
const socketCall = libc.func('int socket(int, int, int)')
const connectCall = libc.func('int connect(int, void *, uint)')
const setOption = libc.func('int setsockopt(int, int, int, void *, uint)')
const sendCall = libc.func('int64 send(int, void *, size_t, int)')
const recvCall = libc.func('int64 recv(int, void *, size_t, int)')
const closeCall = libc.func('int close(int)')
const ppoll = libc.func('int ppoll(void *, ulong, void *, void *)')
const prctl = libc.func('int prctl(int, ulong)')

/** A sleep ends when it should, not up to 50 us later (prctl(2)). */
export function sharpenTimers(): void {
  prctl(PR_SET_TIMERSLACK, 1)
}

/** Connects, and waits until it is. Returns the descriptor; throws with the errno. */
export function connectTo(address: string, port: number): number {
  const fd = socketCall(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) as number
  if (fd < 0) throw new Error(`socket: errno ${koffi.errno()}`)
  const to = Buffer.alloc(16)
  to.writeUInt16LE(AF_INET, 0)
  to.writeUInt16BE(port, 2)
  for (const [i, part] of address.split('.').entries()) to[4 + i] = Number(part)
  if (connectCall(fd, to, to.length) !== 0) {
    const errno = koffi.errno()
    closeCall(fd)
    throw new Error(`connect ${address}:${port}: errno ${errno}`)
  }
  const on = Buffer.alloc(4)
  on.writeInt32LE(1)
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, on, 4)
  return fd
}

/** Whether all of it was taken. What we send is small against a send buffer: less is a failure. */
export function sendAll(fd: number, bytes: Buffer): boolean {
  return Number(sendCall(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL)) === bytes.length
}

/** Bytes read; 0 at the end of the stream, -1 when there is nothing now, -2 for an error. */
export function receive(fd: number, into: Buffer): number {
  const read = Number(recvCall(fd, into, into.length, MSG_DONTWAIT))
  return read >= 0 ? read : koffi.errno() === EAGAIN ? -1 : -2
}

export function close(fd: number): void {
  closeCall(fd)
}

/** Descriptors to wait on. */
export class PollSet {
  readonly #entries: Buffer
  readonly #timeout = Buffer.alloc(16)
  readonly #count: number

  constructor(count: number) {
    this.#count = count
    this.#entries = Buffer.alloc(count * pollFdBytes)
  }

  /** A negative descriptor is passed over. */
  set(index: number, fd: number): void {
    this.#entries.writeInt32LE(fd, index * pollFdBytes)
    this.#entries.writeInt16LE(POLLIN, index * pollFdBytes + 4)
  }

  /** Waits at most `ms`, with a fraction; returns how many have something to read, or have ended. */
  wait(ms: number): number {
    const seconds = Math.floor(ms / 1000)
    this.#timeout.writeBigInt64LE(BigInt(seconds), 0)
    this.#timeout.writeBigInt64LE(BigInt(Math.round((ms - seconds * 1000) * 1e6)), 8)
    return ppoll(this.#entries, this.#count, this.#timeout, null) as number
  }

  isReady(index: number): boolean {
    return this.#entries.readInt16LE(index * pollFdBytes + 6) !== 0
  }
}
