import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MeshError } from '../base/errors.ts'
import { type FieldRules, type Fields, isToken, parseFields, parseTrailers } from './fields.ts'

const rules: FieldRules = {
  fieldsMax: 5,
  malformed: 'BAD_REQUEST',
  tooMany: 'HEAD_TOO_LARGE',
  dropReserved: true,
}
const fromServer: FieldRules = { ...rules, malformed: 'UPSTREAM_PROTOCOL', tooMany: 'UPSTREAM_PROTOCOL' }
const fromMesh: FieldRules = { ...rules, dropReserved: false }

const parse = (lines: string, by: FieldRules = rules): Fields => parseFields(`${lines}\r\n`, 0, lines.length, by)
const refuses = (lines: string, code: string, by?: FieldRules): void =>
  assert.throws(
    () => parse(lines, by),
    (error) => error instanceof MeshError && error.code === code,
  )

describe('field lines', () => {
  for (const [lines, wanted] of [
    ['', []],
    ['A: b\r\n', ['A', 'b']],
    ['A:b\r\n', ['A', 'b']],
    ['A: \t b \t\r\n', ['A', 'b']],
    ['A:\r\n', ['A', '']],
    ['A: \r\n', ['A', '']],
    ['A: b c\r\n', ['A', 'b c']],
    ['A: b\r\nA: c\r\n', ['A', 'b', 'A', 'c']],
    ["!#$%&'*+-.^_`|~9z: \xe9\xff\r\n", ["!#$%&'*+-.^_`|~9z", '\xe9\xff']],
    ['A: b:c\r\n', ['A', 'b:c']],
    ['__proto__: 1\r\nconstructor: 2\r\n', ['__proto__', '1', 'constructor', '2']],
    // Hop-by-hop, and what Connection names.
    ['TE: gzip\r\nKeep-Alive: timeout=3\r\nProxy-Connection: x\r\nProxy-Authorization: y\r\n', []],
    ['Connection: A, close\r\nA: 1\r\nB: 2\r\na: 3\r\n', ['B', '2']],
    ['A: 1\r\nConnection: ,,a ,\r\n', []],
    ['HTTP2-Settings: x\r\nUpgrade: h2c\r\nExpect: y\r\nHost: z\r\n', []],
    // Ours, in any case; and what says who the peer is.
    ['X-Outrigger-Reason: x\r\nx-OUTRIGGER-attempt: 2\r\nX-Forwarded-Client-Cert: By=me\r\n', []],
    [
      'X-Outrigge: kept\r\nX-Forwarded-Client-Cerx: kept\r\n',
      ['X-Outrigge', 'kept', 'X-Forwarded-Client-Cerx', 'kept'],
    ],
  ] as const) {
    it(`${JSON.stringify(lines)} is ${JSON.stringify(wanted)}`, () => assert.deepEqual(parse(lines).headers, wanted))
  }

  for (const [lines, code = 'BAD_REQUEST'] of [
    ['A\r\n'],
    [': b\r\n'],
    ['A : b\r\n'],
    [' A: b\r\n'],
    ['\tA: b\r\n'],
    ['A: b\r\n c\r\n'],
    ['A: b\rc\r\n'],
    ['A: b\0\r\n'],
    ['A: b\x0b\r\n'],
    ['A: b\x7f\r\n'],
    ['A(: b\r\n'],
    ['A\xe9: b\r\n'],
    ['A: b\nC: d\r\n'],
    ['Host: a\r\nhOST: a\r\n'],
    ['Content-Length: 1\r\nCONTENT-LENGTH: 1\r\n'],
    ['Content-Length: 1,1\r\n'],
    ['Content-Length: +1\r\n'],
    ['Content-Length: 1e1\r\n'],
    ['Content-Length: \xb2\r\n'],
    ['Content-Length:\r\n'],
    ['Content-Length: 1000000000000000\r\n'],
    ['Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
    ['Transfer-Encoding: chunked, chunked\r\n'],
    ['Transfer-Encoding: chunked\xa0\r\n'],
    ['Transfer-Encoding:\r\n'],
    ['Transfer-Encoding: gzip\r\n', 'NOT_IMPLEMENTED'],
    ['Connection: host\r\n'],
    ['Connection: content-type\r\n'],
    ['Connection: transfer-encoding\r\n'],
    ['Connection: x-outrigger-attempt\r\n'],
    ['Connection: a b\r\n'],
    ['x_outrigger_attempt: 2\r\n'],
    ['X-Outrigger_Reason: x\r\n'],
    ['X_Forwarded_Client_Cert: By=me\r\n'],
    ['a: 1\r\n'.repeat(6), 'HEAD_TOO_LARGE'],
  ] as const) {
    it(`${JSON.stringify(lines)} is refused: ${code}`, () => {
      refuses(lines, code)
      // The same from an upstream is its fault, not the client's.
      refuses(lines, 'UPSTREAM_PROTOCOL', fromServer)
    })
  }

  it('are bounded to the last one that is let pass', () => assert.equal(parse('a: 1\r\n'.repeat(5)).headers.length, 10))

  it('that are ours pass from a peer that proved itself, as far as sidecars say them', () => {
    const lines = [
      'x-outrigger-attempt: 2',
      'x-outrigger-reason: DENIED',
      'x-outrigger-identity: admin',
      'x-forwarded-client-cert: By=peer',
    ]
    const text = lines.map((line) => `${line}\r\n`).join('')
    assert.deepEqual(parse(text, fromMesh).headers, ['x-outrigger-attempt', '2'])
    const answer = { ...fromMesh, malformed: 'UPSTREAM_PROTOCOL' } as const
    assert.deepEqual(parse(text, answer).headers, ['x-outrigger-attempt', '2', 'x-outrigger-reason', 'DENIED'])
    assert.deepEqual(parse(text).headers, [])
  })

  it('may not imitate ours, whoever sends them', () => {
    for (const by of [rules, fromMesh]) {
      for (const name of ['x_outrigger_attempt', 'X-Outrigger_Attempt', 'x.outrigger.identity', 'X~outrigger-y'])
        refuses(`${name}: 2\r\n`, 'BAD_REQUEST', by)
      for (const name of ['X_Forwarded_Client_Cert', 'x-forwarded.client-cert'])
        refuses(`${name}: 2\r\n`, 'BAD_REQUEST', by)
    }
    assert.deepEqual(parse('x-outriggers-x: 1\r\nxxoutriggerxxxx: 1\r\nx-other_name.y: 1\r\n').headers.length, 6)
  })

  it('of the engine end up in its members', () => {
    const fields = parse(
      'Host: A\r\nContent-Length: 007\r\nConnection: Upgrade, Keep-Alive\r\nUpgrade: websocket\r\nKeep-Alive: max=3, timeout=9\r\n',
    )
    assert.equal(fields.host, 'A')
    assert.equal(fields.contentLength, 7)
    assert.equal(fields.connectionUpgrade, true)
    assert.equal(fields.keepAlive, true)
    assert.equal(fields.close, false)
    assert.equal(fields.upgrade, 'websocket')
    assert.equal(fields.keepAliveTimeout, 9)
    const others = parse('Transfer-Encoding: Chunked\r\nExpect: a\r\nExpect: b\r\nConnection: CLOSE\r\n')
    assert.equal(others.chunked, true)
    assert.equal(others.expect, 'a, b')
    assert.equal(others.close, true)
    assert.equal(others.keepAliveTimeout, -1)
  })

  it('that are refused are not repeated raw in the message', () => {
    assert.throws(
      () => parse('A\x1b[31m: b\r\n'),
      (error) => error instanceof MeshError && /^[\x20-\x7e]*$/.test(error.message),
    )
  })
})

describe('trailers', () => {
  const trailers = (lines: string) => parseTrailers(`${lines}\r\n`, lines.length, rules)
  for (const [lines, wanted] of [
    ['X-Sum: 1\r\n', ['X-Sum', '1']],
    ['grpc-status: 0\r\nX-A: b\r\n', ['grpc-status', '0', 'X-A', 'b']],
    ['Authorization: s\r\nSet-Cookie: a\r\nX-Outrigger-Reason: x\r\nHost: a\r\nContent-Length: 3\r\n', undefined],
    ['Transfer-Encoding: chunked\r\n', undefined],
  ] as const) {
    it(`${JSON.stringify(lines)} leave ${JSON.stringify(wanted)}`, () => assert.deepEqual(trailers(lines), wanted))
  }
  it('are as strict as a head', () => assert.throws(() => trailers('X Sum: 1\r\n'), MeshError))
})

describe('isToken', () => {
  for (const [text, wanted] of [
    ['GET', true],
    ['', false],
    ['a b', false],
    ['a,b', false],
    ['\u0100', false],
    ['a\xe9', false],
  ] as const)
    it(JSON.stringify(text), () => assert.equal(isToken(text), wanted))
})
