import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Detection, detect, detectBytesMax, detectLate, h2Preface } from './detect.ts'

const rows: [name: string, bytes: string, expected: Detection][] = [
  ['nothing yet', '', 'need-more'],
  ['a common method and white space', 'GET ', 'http1'],
  ['a common method, white space still to come', 'GET', 'need-more'],
  ['a tab is white space to a lenient server', 'POST\t/', 'http1'],
  ['lower case is a method of its own: the line must show HTTP/', 'get /', 'need-more'],
  ['lower case, whole line', 'get / HTTP/1.1', 'http1'],
  ['HTTP/0.9 meets the strict engine', 'GET /\r\n', 'http1'],
  ['empty lines first', '\r\n\r\nGET /', 'http1'],
  ['bare line feeds first', '\n\nDELETE /', 'http1'],
  ['only empty lines', '\r\n', 'need-more'],
  ['CONNECT with a whole line', 'CONNECT db:5432 HTTP/1.1\r\n', 'http1'],
  ['NATS says CONNECT too', 'CONNECT {"verbose":false}\r\n', 'opaque'],
  ['OPTIONS of HTTP', 'OPTIONS * HTTP/1.1', 'http1'],
  ['OPTIONS with odd white space', 'OPTIONS  /admin \t HTTP/1.1', 'http1'],
  ['OPTIONS of RTSP', 'OPTIONS rtsp://h/x RTSP/1.0\r\n', 'opaque'],
  ['REGISTER of SIP', 'REGISTER sip:h SIP/2.0\r\n', 'opaque'],
  ['an unknown method', 'M-SEARCH * HTTP/1.1', 'http1'],
  ['an unknown version is the engine\u2019s to refuse', 'BREW /pot HTTP/9', 'http1'],
  ['SMTP', 'EHLO example.org\r\n', 'opaque'],
  ['an SSH banner', 'SSH-2.0-OpenSSH_9.2\r\n', 'opaque'],
  ['an SSH banner with a comment', 'SSH-2.0-OpenSSH_9.2 Debian-2\r\n', 'opaque'],
  ['Redis', '*1\r\n$4\r\nPING\r\n', 'opaque'],
  ['memcached', 'get key\r\n', 'opaque'],
  ['PostgreSQL', '\0\0\0\x08\x04\xd2\x16\x2f', 'opaque'],
  ['MQTT', '\x10\x0c', 'opaque'],
  ['AMQP', 'AMQP\0\0\x09\x01', 'opaque'],
  ['PROXY protocol 1', 'PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n', 'opaque'],
  ['PROXY protocol 2', '\r\n\r\n\0\r\nQUIT\n', 'opaque'],
  ['a first word that is too long', 'A'.repeat(33), 'opaque'],
  ['a control character in the target', 'FOO /\x01 HTTP/1.1', 'opaque'],
  ['HTTP/2', h2Preface.toString('latin1'), 'h2'],
  ['part of the HTTP/2 preface', 'PRI * HT', 'need-more'],
  ['a preface that goes wrong is the engine\u2019s to refuse', 'PRI * HTTP/2.0\r\n\r\nXX', 'http1'],
  ['PRI of something else', 'PRI / HTTP/1.1', 'http1'],
  ['a ClientHello', '\x16\x03\x01\x02\x00\x01', 'tls'],
  ['a record header', '\x16\x03\x01\x02\x00', 'need-more'],
  ['a ServerHello comes from the wrong side', '\x16\x03\x03\x00\x40\x02', 'opaque'],
  ['an empty record', '\x16\x03\x03\x00\x00\x01', 'opaque'],
  ['a record that is too long', '\x16\x03\x03\x40\x01\x01', 'opaque'],
  ['not a TLS version', '\x16\x02', 'opaque'],
  ['not a TLS minor version', '\x16\x03\x05', 'opaque'],
  ['SSL 2', '\x80\x2e\x01\x03\x01', 'opaque'],
]

for (const [name, bytes, expected] of rows) {
  test(`detect: ${name}`, () => assert.equal(detect(Buffer.from(bytes, 'latin1')), expected))
}

test('byte by byte, every row comes to the same decision and keeps it', () => {
  for (const [name, text, expected] of rows) {
    const bytes = Buffer.from(text, 'latin1')
    let decided: Detection = 'need-more'
    for (let length = 0; length <= bytes.length && decided === 'need-more'; length++) {
      decided = detect(bytes.subarray(0, length))
    }
    assert.equal(decided, expected, name)
  }
})

test('what looks like a request line and never ends goes to the strict engine, not past it', () => {
  const line = Buffer.alloc(detectBytesMax, 'a')
  line.write('OPTIONS /')
  assert.equal(detect(line.subarray(0, -1)), 'need-more')
  assert.equal(detect(line), 'http1')
  assert.equal(detect(Buffer.alloc(detectBytesMax, '\r\n')), 'http1')
})

const late: [string, Detection][] = [
  ['', 'opaque'],
  ['G', 'http1'],
  ['\r\n', 'http1'],
  ['FOO /secret', 'http1'],
  ['PRI ', 'h2'],
  ['PRI', 'http1'],
  ['\x16\x03', 'tls'],
  ['\x00', 'opaque'],
]

for (const [bytes, expected] of late) {
  test(`detectLate: ${JSON.stringify(bytes)} is ${expected}`, () => {
    assert.equal(detectLate(Buffer.from(bytes, 'latin1')), expected)
  })
}

/** Bytes that look like something: text of protocols, cut and glued at random. */
const crafted = fc
  .array(
    fc.oneof(
      fc.constantFrom(...rows.map(([, bytes]) => bytes)),
      fc.constantFrom('GET', ' ', '\t', '/', 'HTTP/', 'HTTP', '\r', '\n', 'PRI * ', '\x16\x03', '\0', 'a'.repeat(40)),
      fc.string({ unit: 'binary-ascii', maxLength: 6 }),
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.from(parts.join(''), 'latin1'))

test('property: a decision stands whatever comes after it', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        crafted,
        fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
      ),
      crafted,
      (first, rest) => {
        const decided = detect(first)
        if (decided === 'need-more') return
        assert.equal(detect(Buffer.concat([first, rest])), decided)
      },
    ),
    { numRuns: 5_000 },
  )
})

test('property: opaque never hides a request line that a server would read', () => {
  const method = fc.constantFrom('GET', 'PUT', 'OPTIONS', 'TRACE', 'CONNECT', 'FOO', 'get', "x!#$%&'*")
  const blank = fc.constantFrom(' ', '  ', '\t', ' \t')
  const target = fc.string({ unit: fc.constantFrom('/', '*', 'a', 'H', 'T', 'P', '\xff', '%', ' '), maxLength: 12 })
  fc.assert(
    fc.property(fc.constantFrom('', '\r\n', '\n'), method, blank, target, blank, (empty, m, b1, t, b2) => {
      assert.equal(detect(Buffer.from(`${empty}${m}${b1}${t}${b2}HTTP/1.1\r\n`, 'latin1')), 'http1')
    }),
    { numRuns: 2_000 },
  )
})

test('property: enough bytes are always decided', () => {
  fc.assert(
    fc.property(crafted, fc.nat(255), (start, fill) => {
      const bytes = Buffer.concat([start, Buffer.alloc(detectBytesMax, fill)])
      assert.notEqual(detect(bytes), 'need-more')
    }),
    { numRuns: 1_000 },
  )
})
