/** TLS greetings that lie about whom they are for; no TLS library lets one write them. */

import { extension, hello, records, sized } from '../support/client-hellos.ts'

/** One entry of the list in server_name (RFC 6066 section 3); `type` 0 is a host name. */
export interface ServerName {
  readonly type: number
  readonly name: Buffer
  /** Said instead of the real length. */
  readonly length?: number
}

const host = (name: string): ServerName => ({ type: 0, name: Buffer.from(name, 'latin1') })

export const serverNames: readonly (readonly [what: string, names: readonly ServerName[]])[] = [
  ['a good one', [host('app.test')]],
  ['none', []],
  ['an empty one', [host('')]],
  ['a NUL', [host('\0')]],
  ['a NUL within', [host('app\0.evil')]],
  ['an escaped NUL', [host('%00')]],
  ['10 KB', [host('a'.repeat(10_000))]],
  ['10 KB of NUL', [host('\0'.repeat(10_000))]],
  ['bytes that are not ASCII', [host('\xff\xfe\x80')]],
  ['a line end', [host('app\r\nGET / HTTP/1.1')]],
  ['a path', [host('../../etc/passwd')]],
  ['an escape sequence', [host('\x1b]0;x\x07')]],
  ['an address', [host('127.0.0.1')]],
  ['two names', [host('app'), host('admin')]],
  ['a thousand names', Array.from({ length: 1_000 }, (_, i) => host(`a${i}`))],
  ['another type', [{ type: 7, name: Buffer.from('app') }]],
  ['a length past the end', [{ type: 0, name: Buffer.from('app'), length: 60_000 }]],
  ['a length before the end', [{ type: 0, name: Buffer.from('application'), length: 3 }]],
]

export function clientHello(names: readonly ServerName[]): Buffer {
  const list = names.map(({ type, name, length }) =>
    Buffer.concat([Buffer.from([type]), length === undefined ? sized(name) : Buffer.concat([short(length), name])]),
  )
  return records(
    hello([
      extension(0, sized(...list)),
      // supported_versions: 1.3. signature_algorithms: ecdsa_secp256r1_sha256. supported_groups: x25519, secp256r1. key_share.
      extension(43, Buffer.from([2, 3, 4])),
      extension(13, Buffer.from([0, 2, 4, 3])),
      extension(10, Buffer.from([0, 4, 0, 29, 0, 23])),
      extension(51, sized(short(29), sized(Buffer.alloc(32, 9)))),
    ]),
  )
}

const short = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])
