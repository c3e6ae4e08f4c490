import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MeshError } from '../base/errors.ts'
import { http1Limits } from '../http1/limits.ts'
import { requestRules } from '../http1/request-head.ts'
import { isConnectionField, MalformedMessage, type ParsedRequest, parseRequestFields } from './request-head.ts'

type Field = readonly [name: string, value: string]

const rules = requestRules(http1Limits, { dropReserved: true, allowConnect: true })

const parse = (fields: readonly Field[], by = rules): ParsedRequest => parseRequestFields(fields.flat(), by)

/** `malformed`, or the code of what is answered. */
function outcome(fields: readonly Field[], by = rules): string {
  try {
    parse(fields, by)
    return 'taken'
  } catch (error) {
    if (error instanceof MalformedMessage) return 'malformed'
    assert.ok(error instanceof MeshError, String(error))
    return error.code
  }
}

const pseudo: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/a?b'],
  [':authority', 'app:8080'],
]
const get = (...more: readonly Field[]): readonly Field[] => [...pseudo, ...more]
const but = (name: string, value: string | undefined): readonly Field[] =>
  pseudo.flatMap((field) => (field[0] !== name ? [field] : value === undefined ? [] : [[name, value] as const]))
const chat: readonly Field[] = [
  [':method', 'CONNECT'],
  [':protocol', 'websocket'],
  [':scheme', 'https'],
  [':path', '/chat'],
  [':authority', 'app'],
]
const connect = (...more: readonly Field[]): readonly Field[] => [
  [':method', 'CONNECT'],
  [':authority', 'app:443'],
  ...more,
]

describe('the head of a request', () => {
  it('in any order of its pseudo-header fields', () => {
    for (let turn = 0; turn < 4; turn++) {
      const { head, contentLength } = parse([...pseudo.slice(turn), ...pseudo.slice(0, turn), ['accept', '*/*']])
      assert.deepEqual(head, {
        method: 'GET',
        target: '/a?b',
        authority: 'app:8080',
        scheme: 'http',
        version: '2',
        headers: ['accept', '*/*'],
        upgrade: undefined,
        expectContinue: false,
      })
      assert.equal(contentLength, -1)
    }
  })

  it('Host in place of :authority, or the same beside it; both in lower case', () => {
    assert.equal(parse([...but(':authority', undefined), ['host', 'App:8080']]).head.authority, 'app:8080')
    const both = parse([...but(':authority', 'APP:8080'), ['host', 'app:8080']]).head
    assert.deepEqual([both.authority, both.headers], ['app:8080', []])
  })

  it('cookies are one field, where the first stood', () => {
    const { headers } = parse(get(['cookie', 'a=1'], ['x-a', 'b'], ['cookie', 'c=2'], ['cookie', 'd=3'])).head
    assert.deepEqual(headers, ['cookie', 'a=1; c=2; d=3', 'x-a', 'b'])
  })

  it('fields of the engine are read and not handed on', () => {
    const { head, contentLength } = parse(
      get(['te', 'Trailers'], ['content-length', '12'], ['expect', '100-Continue'], ['http2-settings', 'AAAA']),
    )
    assert.deepEqual([head.headers, head.expectContinue, contentLength], [[], true, 12])
  })

  it('names of the mesh are dropped', () => {
    assert.deepEqual(
      parse(get(['x-outrigger-a', 'b'], ['x-outrigger', 'c'])).head.headers.includes('x-outrigger-a'),
      false,
    )
  })

  it('OPTIONS *', () => {
    const fields = [
      [':method', 'OPTIONS'],
      [':path', '*'],
      ...but(':method', undefined).filter(([n]) => n !== ':path'),
    ] as Field[]
    assert.equal(parse(fields).head.target, '*')
  })

  it('CONNECT is a tunnel to its authority; extended CONNECT a request that asks for another protocol', () => {
    const plain = parse(connect()).head
    assert.deepEqual(
      [plain.method, plain.target, plain.authority, plain.upgrade],
      ['CONNECT', '', 'app:443', undefined],
    )
    const extended = parse(chat).head
    assert.deepEqual(
      [extended.method, extended.target, extended.scheme, extended.upgrade],
      ['GET', '/chat', 'https', 'websocket'],
    )
  })
})

const refused: Readonly<Record<string, readonly (readonly [what: string, fields: readonly Field[]])[]>> = {
  malformed: [
    ...pseudo.map(([name, value]) => [`${name} twice`, [[name, value], ...pseudo]] as const),
    ...pseudo.map(
      ([name, value]) => [`${name} behind others`, [...but(name, undefined), ['a', 'b'], [name, value]]] as const,
    ),
    ...[':method', ':scheme', ':path'].map((name) => [`no ${name}`, but(name, undefined)] as const),
    ['nothing', []],
    ['an unknown pseudo-header field', [[':version', '2'], ...pseudo]],
    [':status', [[':status', '200'], ...pseudo]],
    ...['', 'G ET', 'GET\t', 'GÉT', 'G\u0100T'].map(
      (method) => [`:method '${method}'`, but(':method', method)] as const,
    ),
    ...['', 'http:', '1http', 'ht tp'].map((scheme) => [`:scheme '${scheme}'`, but(':scheme', scheme)] as const),
    ...['', 'a', '*', 'http://app/', '//\0', '/a b', '/a\tb', '/\x7f', '/a#\u0100', '?a'].map(
      (path) => [`:path ${JSON.stringify(path)}`, but(':path', path)] as const,
    ),
    ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'].map(
      (name) => [name, get([name, 'x'])] as const,
    ),
    ...['gzip', 'trailers, gzip', '', 'trailers;q=1'].map((te) => [`te '${te}'`, get(['te', te])] as const),
    ['Host twice', get(['host', 'app:8080'], ['host', 'app:8080'])],
    ['Content-Length twice', get(['content-length', '1'], ['content-length', '1'])],
    ...['', '-1', '+1', '1.0', '0x1', '1, 1', ' 1', '1'.repeat(16)].map(
      (length) => [`content-length '${length}'`, get(['content-length', length])] as const,
    ),
    ['CONNECT with :path', connect().toSpliced(1, 0, [':path', '/'])],
    ['CONNECT with :scheme', connect().toSpliced(1, 0, [':scheme', 'http'])],
    ['CONNECT without :authority', [[':method', 'CONNECT']]],
    [':protocol without CONNECT', [[':protocol', 'websocket'], ...pseudo]],
    [':protocol twice', [[':protocol', 'websocket'], ...chat]],
    ['extended CONNECT without :path', chat.filter(([name]) => name !== ':path')],
    ['extended CONNECT without :scheme', chat.filter(([name]) => name !== ':scheme')],
    [
      'a :protocol that is none',
      chat.map(([name, value]) => [name, name === ':protocol' ? 'web socket' : value] as const),
    ],
  ],
  BAD_REQUEST: [
    ['a scheme that is not of HTTP', but(':scheme', 'ftp')],
    ['Host that is not :authority', get(['host', 'other:8080'])],
    ['Host with another port', get(['host', 'app'])],
    ['neither', but(':authority', undefined)],
    ...['', 'a b', 'user@app', 'app/', 'app:x', '[::1', 'a,b'].map(
      (authority) => [`:authority '${authority}'`, but(':authority', authority)] as const,
    ),
    [
      'CONNECT without a port',
      [
        [':method', 'CONNECT'],
        [':authority', 'app'],
      ],
    ],
    ['TRACE with a body', [...but(':method', 'TRACE'), ['content-length', '1']]],
  ],
  EXPECTATION_FAILED: [['an Expect that nobody knows', get(['expect', '200-ok'])]],
  HEAD_TOO_LARGE: [['a target without end', but(':path', `/${'a'.repeat(http1Limits.targetBytesMax)}`)]],
}

describe('heads that are refused', () => {
  for (const [code, list] of Object.entries(refused))
    for (const [what, fields] of list) it(`${code}: ${what}`, () => assert.equal(outcome(fields), code))

  it('METHOD_NOT_ALLOWED: CONNECT where it is not served; extended CONNECT is served there', () => {
    const closed = requestRules(http1Limits, { dropReserved: true, allowConnect: false })
    assert.equal(outcome(connect(), closed), 'METHOD_NOT_ALLOWED')
    assert.equal(outcome(chat, closed), 'taken')
  })

  it('protocols that would be HTTP again, past policy', () => {
    for (const protocol of ['h2c', 'H2', 'h2c-14', 'HTTP/2.0', 'http/1.1', 'TLS/1.0', 'spdy/3'])
      assert.notEqual(
        outcome(chat.map(([name, value]) => [name, name === ':protocol' ? protocol : value])),
        'taken',
        protocol,
      )
  })

  it('fields of connections are those five, not their neighbours', () => {
    for (const name of ['upgrade-insecure-requests', 'upgrades', 'keep-alives', 'connections', 'transfer-encodings'])
      assert.equal(isConnectionField(name), false, name)
    assert.equal(outcome(get(['upgrade-insecure-requests', '1'])), 'taken')
  })
})
