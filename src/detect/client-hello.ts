/**
 * What a ClientHello says in the clear (RFC 8446 section 4.1.2): the server name (RFC 6066 section 3) and the protocols for
 * inside (ALPN, RFC 7301). Pure. Only what leads to these is looked at; whether the rest makes a good handshake is for the
 * server to say, which gets every byte.
 */

/** `none`: it names nobody. `refused`: a name that nobody could have. */
export type ServerName =
  | { readonly is: 'name'; readonly name: string }
  | { readonly is: 'none' }
  | { readonly is: 'refused'; readonly reason: string }

export interface ClientHello {
  readonly is: 'hello'
  readonly serverName: ServerName
  /** Names of ALPN as bytes, latin1; empty where there are none, or none that could be read. */
  readonly protocols: readonly string[]
}

/** No ClientHello. */
export interface NoClientHello {
  readonly is: 'refused'
  readonly reason: string
}

/**
 * Longest ClientHello with its record headers (Envoy max_client_hello_size 16 KiB). Ordinary ones have 300 to 2,000 bytes,
 * with keys of post-quantum key exchange in them.
 */
export const clientHelloBytesMax = 16_384

const handshakeRecord = 0x16
const clientHelloType = 1
const serverNameExtension = 0
const alpnExtension = 16
const hostName = 0
/** RFC 1035 section 2.3.4, without the trailing dot, which RFC 6066 does not allow. */
const nameBytesMax = 253

/** Reads it; undefined: more bytes are needed. A verdict stands whatever comes after it. */
export function clientHello(bytes: Buffer): ClientHello | NoClientHello | undefined {
  const hello = handshakeOf(bytes)
  if (hello === undefined || !Buffer.isBuffer(hello)) return hello
  try {
    return helloIn(new Reader(hello, 4, hello.length))
  } catch (error) {
    if (error instanceof Overrun) return refused('a length in the ClientHello leads past its end')
    throw error
  }
}

/** The server name alone; a ClientHello that is none has one that is refused. */
export function serverName(bytes: Buffer): ServerName | undefined {
  const hello = clientHello(bytes)
  return hello?.is === 'hello' ? hello.serverName : hello
}

function refused(reason: string): NoClientHello {
  return { is: 'refused', reason }
}

/** The ClientHello with its four bytes in front, put together from as many records as it was cut into. */
function handshakeOf(bytes: Buffer): Buffer | NoClientHello | undefined {
  const parts: Buffer[] = []
  /** The first bytes of the message, at most four: its type and length. */
  const start: number[] = []
  let have = 0
  for (let at = 0; ; ) {
    if (at >= clientHelloBytesMax) return refused(`the ClientHello is longer than ${clientHelloBytesMax} bytes`)
    if (at < bytes.length && bytes[at] !== handshakeRecord) return refused('a TLS record is no handshake record')
    if (at + 1 < bytes.length && bytes[at + 1] !== 0x03) return refused('a TLS record has no version of TLS')
    if (bytes.length < at + 5) return undefined
    const length = bytes.readUInt16BE(at + 3)
    // An empty record carries nothing and could be sent for ever (RFC 8446 section 5.1 forbids it).
    if (length === 0 || length > 16_384) return refused('a TLS record has a length that is none')
    const part = bytes.subarray(at + 5, at + 5 + length)
    for (let i = 0; i < part.length && start.length < 4; i++) start.push(part[i]!)
    parts.push(part)
    have += part.length
    if (have > 0 && start[0] !== clientHelloType) return refused('the handshake does not begin with a ClientHello')
    if (start.length === 4) {
      const wanted = 4 + (start[1]! << 16) + (start[2]! << 8) + start[3]!
      if (wanted > clientHelloBytesMax) return refused(`the ClientHello is longer than ${clientHelloBytesMax} bytes`)
      if (have >= wanted) return Buffer.concat(parts, wanted)
    }
    if (part.length < length) return undefined
    at += 5 + length
  }
}

function helloIn(hello: Reader): ClientHello | NoClientHello {
  hello.skip(2 + 32)
  const session = hello.byte()
  if (session > 32) return refused('the ClientHello has a session id that is none')
  hello.skip(session)
  hello.skip(hello.short())
  hello.skip(hello.byte())
  // TLS 1.2 and before may have no extensions at all.
  if (hello.left === 0) return { is: 'hello', serverName: { is: 'none' }, protocols: [] }
  const extensions = hello.vector(hello.short())
  if (hello.left > 0) return refused('the ClientHello goes on behind its extensions')
  let name: ServerName | undefined
  let protocols: readonly string[] = []
  while (extensions.left > 0) {
    const type = extensions.short()
    const extension = extensions.vector(extensions.short())
    // Twice is forbidden (RFC 8446 section 4.2): which one the server would take nobody knows.
    if (type === serverNameExtension) {
      name =
        name === undefined ? orRefused(() => hostNameIn(extension)) : refused('the ClientHello names its server twice')
    } else if (type === alpnExtension) protocols = protocolsIn(extension)
  }
  return { is: 'hello', serverName: name ?? { is: 'none' }, protocols }
}

function orRefused(read: () => ServerName): ServerName {
  try {
    return read()
  } catch (error) {
    if (error instanceof Overrun) return refused('a length in the server name extension leads past its end')
    throw error
  }
}

function hostNameIn(extension: Reader): ServerName {
  const list = extension.vector(extension.short())
  if (extension.left > 0) return refused('the server name extension goes on behind its list')
  let name: string | undefined
  while (list.left > 0) {
    const type = list.byte()
    const text = list.text(list.short())
    if (type !== hostName) continue
    if (name !== undefined) return refused('the ClientHello names two hosts')
    name = text
  }
  if (name === undefined) return refused('the server name extension names no host')
  if (!isHostName(name)) return refused('the server name is no host name')
  return { is: 'name', name: name.toLowerCase() }
}

function protocolsIn(extension: Reader): readonly string[] {
  const names: string[] = []
  try {
    const list = extension.vector(extension.short())
    while (list.left > 0) names.push(list.text(list.byte()))
  } catch (error) {
    if (!(error instanceof Overrun)) throw error
  }
  return names
}

/** Labels of letters, digits, "-" and "_"; no address (RFC 6066 section 3), so the last label has a letter. */
function isHostName(name: string): boolean {
  if (name.length > nameBytesMax) return false
  const labels = name.split('.')
  return (
    labels.every((label) => /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label)) &&
    !/^\d+$/.test(labels.at(-1)!)
  )
}

class Overrun extends Error {}

/** Reads forward; throws `Overrun` past the end. */
class Reader {
  readonly #bytes: Buffer
  readonly #end: number
  #at: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  get left(): number {
    return this.#end - this.#at
  }

  /** Position before the next `count` bytes, which are taken. */
  skip(count: number): number {
    const at = this.#at
    if (count > this.left) throw new Overrun()
    this.#at += count
    return at
  }

  byte(): number {
    return this.#bytes[this.skip(1)]!
  }

  short(): number {
    return this.#bytes.readUInt16BE(this.skip(2))
  }

  text(count: number): string {
    const at = this.skip(count)
    return this.#bytes.latin1Slice(at, at + count)
  }

  vector(count: number): Reader {
    const at = this.skip(count)
    return new Reader(this.#bytes, at, at + count)
  }
}
