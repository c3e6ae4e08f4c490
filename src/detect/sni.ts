/**
 * The server name that a ClientHello asks for (RFC 6066 section 3), for logs and opaque routing; undefined if the
 * bytes do not hold a whole, well-formed one. Never throws. Reads the first record only, so at most 16 KiB: a
 * name behind a fragmented hello is not worth holding the connection for.
 */
export function serverName(bytes: Buffer): string | undefined {
  if (bytes.length < 6 || bytes[0] !== 0x16 || bytes[1] !== 0x03 || bytes[5] !== 0x01) return undefined
  const reader = new Reader(bytes, 5, Math.min(bytes.length, 5 + bytes.readUInt16BE(3)))
  // Handshake header, version, random; then session id, cipher suites, compression methods (RFC 8446 section 4.1.2).
  if (!reader.skip(4 + 2 + 32) || !reader.skipVector(1) || !reader.skipVector(2) || !reader.skipVector(1)) {
    return undefined
  }
  const extensions = reader.vector(2)
  while (extensions !== undefined && extensions.left > 0) {
    const type = extensions.number(2)
    const body = extensions.vector(2)
    if (type === undefined || body === undefined) return undefined
    if (type === 0) return hostName(body)
  }
  return undefined
}

function hostName(extension: Reader): string | undefined {
  const list = extension.vector(2)
  if (list === undefined || list.number(1) !== 0) return undefined
  const name = list.vector(2)?.latin1()
  // What is not a DNS name must not reach a log line.
  return name !== undefined && /^[a-z0-9_-]([a-z0-9._-]{0,252})$/i.test(name) ? name.toLowerCase() : undefined
}

/** A cursor that stays inside its bounds: every read past them is undefined or false. */
class Reader {
  readonly #bytes: Buffer
  #at: number
  readonly #end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  get left(): number {
    return this.#end - this.#at
  }

  skip(count: number): boolean {
    if (count > this.left) return false
    this.#at += count
    return true
  }

  number(size: 1 | 2): number | undefined {
    if (size > this.left) return undefined
    const value = this.#bytes.readUIntBE(this.#at, size)
    this.#at += size
    return value
  }

  /** Bytes behind a length of `size` bytes. */
  vector(size: 1 | 2): Reader | undefined {
    const length = this.number(size)
    if (length === undefined || length > this.left) return undefined
    const reader = new Reader(this.#bytes, this.#at, this.#at + length)
    this.#at += length
    return reader
  }

  skipVector(size: 1 | 2): boolean {
    return this.vector(size) !== undefined
  }

  latin1(): string {
    return this.#bytes.latin1Slice(this.#at, this.#end)
  }
}
