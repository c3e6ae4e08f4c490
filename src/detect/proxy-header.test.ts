import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { binary, signature, tlv, withChecksum } from '../../test/support/proxy-headers.ts'
import { crc32c } from './crc32c.ts'
import { type ProxyHeader, proxyHeader, proxyHeaderBytesMax, proxyLineBytesMax } from './proxy-header.ts'

const text = (line: string): Buffer => Buffer.from(line, 'latin1')
const v4 = Buffer.from([203, 0, 113, 5, 10, 0, 0, 1, 0xc0, 0x01, 0x01, 0xbb])
const v6 = Buffer.from(`20010db8${'0'.repeat(22)}05fd00${'0'.repeat(27)}1c00101bb`, 'hex')
const unix = Buffer.alloc(216, '/run/client')
const tcp4 = '203.0.113.5 10.0.0.1 49153 443'
const tcp6 = '2001:DB8::5 fd00::1 49153 443'
const v4Client = { address: '203.0.113.5', port: 49153 }
const v6Client = { address: '2001:db8::5', port: 49153 }

const accepted: [what: string, header: Buffer, client: ProxyHeader['client']][] = [
  ['TCP4', text(`PROXY TCP4 ${tcp4}\r\n`), v4Client],
  ['TCP6', text(`PROXY TCP6 ${tcp6}\r\n`), v6Client],
  ['TCP6 in full', text('PROXY TCP6 2001:0db8:0:0:0:0:0:5 ::1 49153 1\r\n'), v6Client],
  [
    'TCP6, the longest',
    text(`PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`),
    {
      address: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
      port: 65_535,
    },
  ],
  ['TCP6 of a mapped address is IPv4', text('PROXY TCP6 ::ffff:cb00:7105 ::1 49153 1\r\n'), v4Client],
  ['port 0', text('PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n'), { address: '0.0.0.0', port: 0 }],
  ['UNKNOWN', text('PROXY UNKNOWN\r\n'), undefined],
  ['UNKNOWN with anything', text('PROXY UNKNOWN \x01 what ever\xff\r\n'), undefined],
  ['UNKNOWN, the longest line', text(`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`), undefined],
  ['binary TCP4', binary(0x21, 0x11, v4), v4Client],
  ['binary TCP6', binary(0x21, 0x21, v6), v6Client],
  [
    'binary TCP6 of a mapped address is IPv4',
    binary(0x21, 0x21, Buffer.from(`${'0'.repeat(20)}ffffcb007105${'0'.repeat(32)}c0010001`, 'hex')),
    v4Client,
  ],
  ['LOCAL', binary(0x20, 0x00), undefined],
  ['LOCAL: what it says is ignored', binary(0x20, 0x11, v4), undefined],
  ['LOCAL: the family is ignored', binary(0x20, 0xff, Buffer.from('nonsense')), undefined],
  ['UNSPEC', binary(0x21, 0x00), undefined],
  ['UNSPEC with something', binary(0x21, 0x00, Buffer.from('something')), undefined],
  ['IPv4, of no transport', binary(0x21, 0x10, v4), undefined],
  ['UDP: a datagram is not what this connection carries', binary(0x21, 0x12, v4), undefined],
  ['UDP over IPv6', binary(0x21, 0x22, v6), undefined],
  ['UNIX', binary(0x21, 0x31, unix), undefined],
  ['UNIX datagram', binary(0x21, 0x32, unix), undefined],
  [
    'TLVs of any kind',
    binary(0x21, 0x11, v4, tlv(1, 'h2'), tlv(4), tlv(0xee, 'x'.repeat(300)), tlv(0x30, '')),
    v4Client,
  ],
  ['a checksum', withChecksum(binary(0x21, 0x11, v4, tlv(2, 'shop.test'), tlv(3, '\0\0\0\0'), tlv(5, 'id'))), v4Client],
  ['a checksum over IPv6', withChecksum(binary(0x21, 0x21, v6, tlv(3, '\0\0\0\0'))), v6Client],
  [
    'the longest that is taken',
    binary(0x21, 0x11, v4, tlv(4, 'n'.repeat(proxyHeaderBytesMax - 16 - 12 - 3))),
    v4Client,
  ],
]

const refused: [what: string, header: Buffer, reason: RegExp][] = [
  ['no header', text('GET / HTTP/1.1\r\n'), /does not begin/],
  ['TLS', text('\x16\x03\x01'), /does not begin/],
  ['lower case', text('proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n'), /does not begin/],
  ['space before it', text(` PROXY TCP4 ${tcp4}\r\n`), /does not begin/],
  ['a tab behind PROXY', text(`PROXY\tTCP4 ${tcp4}\r\n`), /does not begin/],
  ['no protocol', text('PROXY \r\n'), /six words/],
  ['UNKNOWN run on', text('PROXY UNKNOWNS\r\n'), /six words/],
  ['unknown in lower case', text('PROXY unknown\r\n'), /six words/],
  ['an unknown family', text(`PROXY TCP5 ${tcp4}\r\n`), /neither/],
  ['a family in lower case', text(`PROXY tcp4 ${tcp4}\r\n`), /neither/],
  ['UDP', text(`PROXY UDP4 ${tcp4}\r\n`), /neither/],
  ['IPv6 in TCP4', text(`PROXY TCP4 ${tcp6}\r\n`), /address/],
  ['IPv4 in TCP6', text(`PROXY TCP6 ${tcp4}\r\n`), /address/],
  ['two families', text('PROXY TCP6 2001:db8::5 10.0.0.1 1 2\r\n'), /address/],
  ['a leading zero', text('PROXY TCP4 203.0.113.05 10.0.0.1 1 2\r\n'), /address/],
  ['octal', text('PROXY TCP4 0313.0.0161.5 10.0.0.1 1 2\r\n'), /address/],
  ['hexadecimal', text('PROXY TCP4 0xcb007105 10.0.0.1 1 2\r\n'), /address/],
  ['three numbers', text('PROXY TCP4 203.0.113 10.0.0.1 1 2\r\n'), /address/],
  ['256', text('PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n'), /address/],
  ['a zone', text('PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n'), /address/],
  ['a dotted part in IPv6', text('PROXY TCP6 ::ffff:203.0.113.5 ::1 1 2\r\n'), /address/],
  ['two double colons', text('PROXY TCP6 1::2::3 ::1 1 2\r\n'), /address/],
  ['five digits in a group', text('PROXY TCP6 00001::2 ::1 1 2\r\n'), /address/],
  ['brackets', text('PROXY TCP6 [::1] ::1 1 2\r\n'), /address/],
  ['no destination', text('PROXY TCP4 203.0.113.5\r\n'), /six words/],
  ['two spaces', text('PROXY TCP4  203.0.113.5 10.0.0.1 1 2\r\n'), /six words/],
  ['a space at the end', text(`PROXY TCP4 ${tcp4} \r\n`), /six words/],
  ['one word more', text(`PROXY TCP4 ${tcp4} 5\r\n`), /six words/],
  ['port 65536', text('PROXY TCP4 203.0.113.5 10.0.0.1 65536 1\r\n'), /port/],
  ['a port with a leading zero', text('PROXY TCP4 203.0.113.5 10.0.0.1 080 1\r\n'), /port/],
  ['a port with a sign', text('PROXY TCP4 203.0.113.5 10.0.0.1 +80 1\r\n'), /port/],
  ['a destination port of 65536', text('PROXY TCP4 203.0.113.5 10.0.0.1 1 65536\r\n'), /port/],
  ['bare LF', text(`PROXY TCP4 ${tcp4}\n`), /CRLF/],
  ['bare CR', text(`PROXY TCP4 ${tcp4}\rGET`), /CRLF/],
  ['bare LF in UNKNOWN', text('PROXY UNKNOWN x\ny\r\n'), /CRLF/],
  ['a NUL', text('PROXY TCP4 203.0.113.5\0 10.0.0.1 1 2\r\n'), /address/],
  ['a line of 108 bytes', text(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`), /within 107|CRLF/],
  ['a line without end', text(`PROXY UNKNOWN ${'x'.repeat(200)}`), /within 107/],
  ['version 1 in the binary form', binary(0x11, 0x11, v4), /version 2/],
  ['version 3', binary(0x31, 0x11, v4), /version 2/],
  ['an unknown command', binary(0x22, 0x11, v4), /command/],
  ['an unknown family', binary(0x21, 0x41, v4), /family/],
  ['an unknown transport', binary(0x21, 0x13, v4), /family/],
  ['an unspecified family of an unknown transport', binary(0x21, 0x03, v4), /family/],
  ['addresses cut short', binary(0x21, 0x11, v4.subarray(1)), /too short/],
  ['IPv4 as IPv6', binary(0x21, 0x21, v4), /too short/],
  ['UDP cut short', binary(0x21, 0x12, v4.subarray(2)), /too short/],
  ['a path cut short', binary(0x21, 0x31, unix.subarray(1)), /too short/],
  ['longer than allowed', binary(0x21, 0x11, v4, tlv(4, 'n'.repeat(proxyHeaderBytesMax - 16 - 12 - 2))), /longer than/],
  ['LOCAL, longer than allowed', binary(0x20, 0x00, Buffer.alloc(5_000)), /longer than/],
  ['a TLV of two bytes', binary(0x21, 0x11, v4, Buffer.from([4, 0])), /middle of a TLV/],
  ['a TLV that is longer than the header', binary(0x21, 0x11, v4, Buffer.from([4, 0, 9, 1])), /middle of a TLV/],
  ['a wrong checksum', binary(0x21, 0x11, v4, tlv(3, '\x01\x02\x03\x04')), /checksum/],
  ['a checksum of three bytes', binary(0x21, 0x11, v4, tlv(3, '\0\0\0')), /checksum/],
  ['two checksums', binary(0x21, 0x11, v4, tlv(3, '\0\0\0\0'), tlv(3, '\0\0\0\0')), /checksum/],
]

for (const [what, header, client] of accepted) {
  test(`accepted: ${what}`, () => {
    assert.deepEqual(proxyHeader(header), { is: 'header', bytes: header.length, client })
    const followed = Buffer.concat([header, text('PROXY and more\r\n')])
    assert.deepEqual(proxyHeader(followed), { is: 'header', bytes: header.length, client }, 'with bytes behind it')
    for (let length = 0; length < header.length; length++) {
      assert.equal(proxyHeader(header.subarray(0, length)), undefined, `the first ${length} bytes`)
    }
  })
}

for (const [what, header, reason] of refused) {
  test(`refused: ${what}`, () => {
    const found = proxyHeader(header)
    assert.ok(found?.is === 'refused', JSON.stringify(found))
    assert.match(found.reason, reason)
    // Byte by byte it comes to the same end.
    let verdict: ReturnType<typeof proxyHeader>
    for (let length = 1; length <= header.length && verdict === undefined; length++) {
      verdict = proxyHeader(header.subarray(0, length))
    }
    assert.equal(verdict?.is, 'refused')
  })
}

test('crc32c: the values of RFC 3720 appendix B.4', () => {
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa)
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
  assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), 0x46dd794e)
  assert.equal(crc32c(text('123456789')), 0xe3069283)
})

const headers = fc.constantFrom(...accepted.map(([, header]) => header), ...refused.map(([, header]) => header))

/** Headers with some bytes changed, put in, taken out or doubled. */
const mutated = fc
  .tuple(
    headers,
    fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'insert', 'cut', 'double')), { maxLength: 4 }),
  )
  .map(([header, edits]) => {
    let bytes = Buffer.from(header)
    for (const [where, byte, edit] of edits) {
      const at = where % (bytes.length + 1)
      if (edit === 'set' && at < bytes.length) bytes[at] = byte
      else if (edit === 'insert')
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([byte]), bytes.subarray(at)])
      else if (edit === 'cut') bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)])
      else if (edit === 'double') bytes = Buffer.concat([bytes.subarray(0, at), bytes])
    }
    return bytes
  })

/** The specification once more, by other means: a regular expression for the line, fixed places for the binary form. */
function allowed(bytes: Buffer): boolean {
  const line = /^PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP4 (\S+) (\S+) (\S+) (\S+)|TCP6 (\S+) (\S+) (\S+) (\S+))\r\n/.exec(
    bytes.subarray(0, proxyLineBytesMax).toString('latin1'),
  )
  if (line !== null) {
    const [, a4, b4, p4, q4, a6, b6, p6, q6] = line
    const isPort = (word: string): boolean =>
      String(Number(word)) === word && Number(word) >= 0 && Number(word) < 65_536
    if (a4 !== undefined) return isIP(a4) === 4 && isIP(b4!) === 4 && isPort(p4!) && isPort(q4!)
    if (a6 !== undefined) {
      return [a6, b6!].every((word) => isIP(word) === 6 && !/[.%]/.test(word)) && isPort(p6!) && isPort(q6!)
    }
    return true
  }
  if (!bytes.subarray(0, 12).equals(signature) || bytes.length < 16) return false
  const [version, family] = [bytes[12]!, bytes[13]!]
  const length = bytes.readUInt16BE(14)
  if (16 + length > Math.min(bytes.length, proxyHeaderBytesMax)) return false
  if (version === 0x20) return true
  const needed = [0, 12, 36, 216][family >> 4]
  return version === 0x21 && needed !== undefined && (family & 15) <= 2 && length >= needed
}

test('property: what the specification forbids is never accepted, and a verdict stands whatever follows', () => {
  fc.assert(
    fc.property(mutated, fc.uint8Array({ maxLength: 40 }), (bytes, rest) => {
      const found = proxyHeader(bytes)
      if (found === undefined) return
      assert.deepEqual(proxyHeader(Buffer.concat([bytes, rest])), found)
      if (found.is === 'refused') return
      assert.ok(allowed(bytes), bytes.toString('latin1'))
      assert.ok(found.bytes <= bytes.length)
      if (found.client !== undefined) assert.ok(isIP(found.client.address) !== 0)
    }),
    { numRuns: 20_000 },
  )
})

test('property: enough bytes are always judged', () => {
  fc.assert(
    fc.property(mutated, fc.nat(255), (bytes, fill) => {
      assert.notEqual(proxyHeader(Buffer.concat([bytes, Buffer.alloc(proxyHeaderBytesMax, fill)])), undefined)
    }),
    { numRuns: 2_000 },
  )
})

test('property: one flipped bit anywhere in a header with a checksum is noticed or ignored by rule', () => {
  const header = withChecksum(binary(0x21, 0x11, v4, tlv(2, 'shop.test'), tlv(3, '\0\0\0\0')))
  for (let bit = 14 * 8; bit < header.length * 8; bit++) {
    const bytes = Buffer.from(header)
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    const found = proxyHeader(bytes)
    // A longer length waits for more; the bit that makes the checksum another TLV makes it one that is not looked at.
    const isType = bit >> 3 === header.length - 7
    if (found?.is === 'header') assert.ok(isType, `bit ${bit}`)
  }
})
