/** ClientHellos: those that OpenSSL makes, and some made byte by byte. */
import { Duplex } from 'node:stream'
import tls from 'node:tls'

/** What Node's own client sends first. */
export function realHello(options: tls.ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk)
        done()
        wire.destroy()
      },
    })
    tls.connect({ socket: wire, ...options }).on('error', () => {})
  })
}

const short = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])

/** With its length in two bytes in front. */
export function sized(...parts: readonly Buffer[]): Buffer {
  const whole = Buffer.concat(parts)
  return Buffer.concat([short(whole.length), whole])
}

export function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([short(type), sized(body)])
}

/** The extension that names hosts; one entry for each name, latin1. */
export function serverNames(...names: readonly string[]): Buffer {
  return extension(
    0,
    sized(...names.map((name) => Buffer.concat([Buffer.from([0]), sized(Buffer.from(name, 'latin1'))]))),
  )
}

/** A ClientHello handshake message, without record headers; `undefined`: no extensions at all. */
export function hello(extensions: readonly Buffer[] | undefined, session = 32): Buffer {
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([session]),
    Buffer.alloc(session, 8),
    sized(Buffer.from([0x13, 0x01, 0x0a, 0x0a])),
    Buffer.from([1, 0]),
    ...(extensions === undefined ? [] : [sized(...extensions)]),
  ])
  return Buffer.concat([Buffer.from([1, 0]), sized(body)])
}

/** In records of at most `bytesMax` bytes. */
export function records(message: Buffer, bytesMax = 16_384): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < message.length; at += bytesMax) {
    parts.push(Buffer.from([0x16, 3, 1]), sized(message.subarray(at, at + bytesMax)))
  }
  return Buffer.concat(parts)
}
