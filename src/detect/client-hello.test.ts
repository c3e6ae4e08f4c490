import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { extension, hello, realHello, records, serverNames, sized } from '../../test/support/client-hellos.ts'
import { clientHello, clientHelloBytesMax, type ServerName, serverName } from './client-hello.ts'

const grease = extension(0x0a0a, Buffer.alloc(0))
const keyShare = extension(51, Buffer.alloc(1_300, 5))
/** encrypted_client_hello: the name outside is the one that a proxy may see. */
const ech = extension(0xfe0d, Buffer.alloc(200, 6))
const name = (text: string): ServerName => ({ is: 'name', name: text })
const none: ServerName = { is: 'none' }

const accepted: [what: string, bytes: Buffer, expected: ServerName][] = [
  ['a name', records(hello([serverNames('shop.example')])), name('shop.example')],
  ['in capitals', records(hello([serverNames('Shop.EXAMPLE')])), name('shop.example')],
  ['a short name', records(hello([serverNames('orders')])), name('orders')],
  ['an underscore', records(hello([serverNames('_sip.my_host.test')])), name('_sip.my_host.test')],
  ['A-labels', records(hello([serverNames('xn--bcher-kva.example')])), name('xn--bcher-kva.example')],
  ['between others', records(hello([grease, keyShare, serverNames('a.test'), ech])), name('a.test')],
  ['no name', records(hello([grease, keyShare])), none],
  ['an empty list of extensions', records(hello([])), none],
  ['no extensions', records(hello(undefined, 0)), none],
  ['one byte in each record', records(hello([grease, serverNames('a.test')]), 1), name('a.test')],
  [
    'the longest name',
    records(hello([serverNames(`${'a'.repeat(63)}.`.repeat(3) + 'b'.repeat(61))])),
    name(`${'a'.repeat(63)}.`.repeat(3) + 'b'.repeat(61)),
  ],
  [
    'another kind of name beside it',
    records(hello([extension(0, sized(Buffer.from('\x07\0\x02xy\0\0\x06a.test', 'latin1')))])),
    name('a.test'),
  ],
]

const record = (type: number, version: number, body: Buffer): Buffer =>
  Buffer.concat([Buffer.from([type, version, 1]), sized(body)])
const message = hello([serverNames('a.test')])

const refused: [what: string, bytes: Buffer, reason: RegExp][] = [
  ['an alert', record(0x15, 3, Buffer.from([2, 40])), /no handshake/],
  ['a ServerHello', record(0x16, 3, Buffer.from([2, 0, 0, 4, 0, 0, 0, 0])), /ClientHello/],
  ['not TLS', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /no handshake/],
  ['SSL 2', Buffer.from([0x80, 0x2e, 1, 3, 1]), /no handshake/],
  ['no version of TLS', record(0x16, 2, message), /version/],
  ['an empty record', record(0x16, 3, Buffer.alloc(0)), /length/],
  ['a record that is too long', Buffer.from([0x16, 3, 1, 0x40, 1, 1]), /length/],
  [
    'another record in the middle',
    Buffer.concat([records(message.subarray(0, 20)), record(0x17, 3, message.subarray(20))]),
    /no handshake/,
  ],
  ['a ClientHello of 16 MiB', record(0x16, 3, Buffer.from([1, 0xff, 0xff, 0xff])), /longer/],
  ['a ClientHello that is too long', records(hello([extension(21, Buffer.alloc(17_000))])), /longer/],
  [
    'records of one byte without end',
    records(Buffer.concat([Buffer.from([1, 0, 0x3f, 0]), Buffer.alloc(4_000)]), 1),
    /longer/,
  ],
  ['a session id of 33 bytes', records(hello([serverNames('a.test')], 33)), /session/],
  [
    'extensions past the end',
    records(Buffer.concat([Buffer.from([1, 0]), sized(hello([grease]).subarray(4, -1))])),
    /past its end/,
  ],
  [
    'bytes behind the extensions',
    records(Buffer.concat([Buffer.from([1, 0]), sized(message.subarray(4), Buffer.from([0]))])),
    /goes on/,
  ],
  ['an extension past the end', records(hello([Buffer.from([0, 0, 0, 9, 0])])), /past its end/],
  ['half an extension', records(hello([Buffer.from([0, 0, 0])])), /past its end/],
  ['two name extensions', records(hello([serverNames('a.test'), serverNames('b.test')])), /twice/],
  ['the same twice', records(hello([serverNames('a.test'), serverNames('a.test')])), /twice/],
  ['two hosts', records(hello([serverNames('a.test', 'b.test')])), /two hosts/],
  ['an empty list', records(hello([serverNames()])), /no host/],
  ['an empty extension', records(hello([extension(0, Buffer.alloc(0))])), /past its end/],
  ['bytes behind the list', records(hello([extension(0, Buffer.concat([sized(), Buffer.from([1])]))])), /goes on/],
  ...[
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    '-a.test',
    'a-.test',
    'a b',
    'a\0.test',
    'a.test\n',
    'caf\xe9.test',
    '10.0.0.1',
    '::1',
    '[::1]',
    '*.test',
    'a/b',
    'a:443',
    'a@b',
    'a'.repeat(64),
    `${'a'.repeat(63)}.`.repeat(4) + 'b',
    'x'.repeat(10_000),
  ].map((text): [string, Buffer, RegExp] => [
    `the name ${JSON.stringify(text.slice(0, 70))}`,
    records(hello([serverNames(text)])),
    /no host name/,
  ]),
]

for (const [what, bytes, expected] of accepted) {
  test(`server name: ${what}`, () => {
    assert.deepEqual(serverName(bytes), expected)
    assert.deepEqual(serverName(Buffer.concat([bytes, Buffer.from('early data')])), expected)
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(serverName(bytes.subarray(0, length)), undefined, `the first ${length} bytes`)
    }
  })
}

for (const [what, bytes, reason] of refused) {
  test(`refused: ${what}`, () => {
    const found = serverName(bytes)
    assert.ok(found?.is === 'refused', JSON.stringify(found))
    assert.match(found.reason, reason)
  })
}

test('what OpenSSL sends, whatever its options', async () => {
  const options = [
    {},
    { maxVersion: 'TLSv1.2' },
    { ALPNProtocols: ['h2', 'http/1.1'] },
    { ecdhCurve: 'X25519' },
  ] as const
  for (const option of options) {
    const { ALPNProtocols = [] } = option as { ALPNProtocols?: readonly string[] }
    for (const text of ['shop.example', 'orders', undefined]) {
      const bytes = await realHello({ ...option, ...(text !== undefined && { servername: text }) })
      assert.deepEqual(serverName(bytes), text === undefined ? none : name(text), JSON.stringify(option))
      const found = clientHello(bytes)
      assert.deepEqual(found?.is === 'hello' && found.protocols, ALPNProtocols)
    }
  }
})

test('protocols: those before a length that leads nowhere; none where there are none', () => {
  const alpn = (list: string): Buffer =>
    extension(16, Buffer.concat([Buffer.from([0, list.length]), Buffer.from(list)]))
  const protocolsOf = (...extensions: Buffer[]): unknown => {
    const found = clientHello(records(hello(extensions)))
    return found?.is === 'hello' && found.protocols
  }
  assert.deepEqual(protocolsOf(alpn('\x02h2\x08http/1.1'), serverNames('a.test')), ['h2', 'http/1.1'])
  assert.deepEqual(protocolsOf(alpn('\x02h2\x09http/1.1')), ['h2'])
  assert.deepEqual(protocolsOf(extension(16, Buffer.from([0]))), [])
  assert.deepEqual(protocolsOf(), [])
  // A name that is refused is no reason not to see them.
  assert.deepEqual(protocolsOf(serverNames('10.0.0.1'), alpn('\x02h2')), ['h2'])
})

test('property: however it is cut into records, the name is the same', () => {
  const whole = hello([grease, keyShare, serverNames('shop.example'), ech])
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2_000 }), (bytesMax) => {
      // A record of one byte costs six: too many of them are too long.
      const bytes = records(whole, bytesMax)
      fc.pre(bytes.length <= clientHelloBytesMax)
      assert.deepEqual(serverName(bytes), name('shop.example'))
    }),
    { numRuns: 300 },
  )
})

const bases = fc.constantFrom(
  ...accepted.map(([, bytes]) => bytes),
  ...refused.map(([, bytes]) => bytes.subarray(0, 400)),
)

test('property: mutated, it never throws, stands by its verdict, and names only host names', () => {
  fc.assert(
    fc.property(
      bases,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
      fc.uint8Array({ maxLength: 30 }),
      (base, edits, rest) => {
        const bytes = Buffer.from(base)
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte
        const found = serverName(bytes)
        if (found === undefined) return
        assert.deepEqual(serverName(Buffer.concat([bytes, rest])), found)
        if (found.is === 'name') assert.match(found.name, /^[a-z0-9_.-]{1,253}$/)
      },
    ),
    { numRuns: 20_000 },
  )
})

test('property: enough bytes are always judged', () => {
  fc.assert(
    fc.property(bases, fc.nat(255), (base, fill) => {
      assert.notEqual(serverName(Buffer.concat([base, Buffer.alloc(2 * clientHelloBytesMax, fill)])), undefined)
    }),
    { numRuns: 500 },
  )
})
