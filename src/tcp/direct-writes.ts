/** Writes that go straight to the kernel, past the stream machinery. */
import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { getSystemErrorName } from 'node:util'
import { bulkBuffers } from './bulk-buffers.ts'

/** A write that the kernel did not take all of: libuv has it until it did. */
interface WriteRequest {
  oncomplete: ((status: number) => void) | undefined
  /** What libuv still reads from. */
  buffer: Buffer | undefined
}

/** Of a libuv TCP handle; undocumented, hence asked for with care. */
interface Handle {
  /** Bytes that libuv has and the kernel does not. */
  readonly writeQueueSize?: number
  /** 0: the kernel has it all. Below: an error. */
  writeLatin1String?(request: null, text: string): number | WriteRequest
  writeBuffer?(request: null, bytes: Buffer): number | WriteRequest
}

/** Writes of a socket that the kernel has not all of. */
const pending: unique symbol = Symbol('pending')

type Inside = { _handle?: Handle | null; [pending]?: number }

/**
 * Whether this Node's streams write in the way that is used below: a socket made for the purpose shows it to a handle that
 * only looks. Earlier ones want a request object that they do not export, and end the process when there is none.
 */
function look(): boolean {
  let seen = false
  const handle = {
    getAsyncId: () => 0,
    readStart: () => 0,
    readStop: () => 0,
    close: (done?: () => void) => done?.(),
    writeLatin1String: (request: unknown) => {
      seen = request === null
      return 0
    },
  }
  const probe = new Socket({ handle } as object)
  probe.on('error', () => {})
  try {
    probe.write('x', 'latin1')
  } catch {
    seen = false
  }
  probe.destroy()
  return seen
}

/** False: this Node writes in another way, and everything goes through streams. */
export const writesDirectly: boolean = look()

/** What libuv tries to hand to the kernel without a copy of its own (StreamBase::WriteString). */
const textMax = 16 * 1024

/**
 * `socket.write(text, 'latin1')`, past the stream where nothing waits in it: no state of a stream to keep, no objects, no turn
 * of the tick queue. Returns false when the socket wants a rest; then 'drain' follows, as with `write`. TLS is always written
 * through its stream: two writes at once into one TLS session end the process.
 */
export function writeText(socket: Socket, text: string): boolean {
  const handle = text.length > textMax ? undefined : directHandle(socket)
  if (handle?.writeLatin1String === undefined) return socket.write(text, 'latin1')
  const left = handle.writeLatin1String(null, text)
  if (left === 0) return true
  // The stream meets the same error, and knows what to do about it.
  if (typeof left === 'number') return socket.write(text, 'latin1')
  return follow(socket, left, undefined)
}

/**
 * Writes bytes of a buffer that is read into again: it may be once this has returned true, or 'drain' came. Where the
 * stream has to do it, a copy is made.
 */
export function writeBytes(socket: Socket, bytes: Buffer): boolean {
  const handle = directHandle(socket)
  if (handle?.writeBuffer === undefined) return socket.write(Buffer.from(bytes))
  const left = handle.writeBuffer(null, bytes)
  if (left === 0) return true
  if (typeof left === 'number') return socket.write(Buffer.from(bytes))
  left.buffer = bytes
  return follow(socket, left, bytes)
}

/** Bytes that were written and that the kernel has not, whichever way they took. */
export function unsentBytes(socket: Socket): number {
  // What the stream has handed to libuv is in both.
  return Math.max(socket.writableLength, (socket as unknown as Inside)._handle?.writeQueueSize ?? 0)
}

/** The handle, where nothing stands between us and it. */
function directHandle(socket: Socket): Handle | undefined {
  if (
    !writesDirectly ||
    socket.writableLength > 0 ||
    socket.connecting ||
    socket.writableEnded ||
    socket.destroyed ||
    socket instanceof TLSSocket
  )
    return undefined
  return (socket as unknown as Inside)._handle ?? undefined
}

/** What is written meanwhile stands behind it, whichever way it takes: libuv keeps the order. */
function follow(socket: Socket, left: WriteRequest, bytes: Buffer | undefined): false {
  if (bytes !== undefined) bulkBuffers.waits(bytes)
  const inside = socket as unknown as Inside
  inside[pending] = (inside[pending] ?? 0) + 1
  left.oncomplete = (status) => {
    inside[pending]!--
    if (bytes !== undefined) bulkBuffers.written(bytes)
    if (socket.destroyed) return
    if (status < 0) socket.destroy(writeError(status))
    // Where the stream is full too it says so itself.
    else if (inside[pending] === 0 && !socket.writableNeedDrain) socket.emit('drain')
  }
  return false
}

function writeError(status: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(status)
  return Object.assign(new Error(`write ${code}`), { errno: status, code, syscall: 'write' })
}
