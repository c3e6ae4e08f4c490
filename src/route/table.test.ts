import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { exchange } from '../../test/support/exchanges.ts'
import { type RouteMatchSchema, type RuleSchema, ServiceSchema, StringMatchType } from '../api/gen/outrigger_pb.ts'
import type { RequestHead } from '../base/exchange.ts'
import { compileRoutes } from './table.ts'

const { EXACT, PREFIX, REGEX, UNSPECIFIED } = StringMatchType
type Match = MessageInitShape<typeof RouteMatchSchema>
type RuleInit = MessageInitShape<typeof RuleSchema>

const exact = (path: string, more: Match = {}): Match => ({ pathType: EXACT, path, ...more })
const prefix = (path: string, more: Match = {}): Match => ({ pathType: PREFIX, path, ...more })
const regex = (path: string, more: Match = {}): Match => ({ pathType: REGEX, path, ...more })
const header = (name: string, value: string, type: StringMatchType = EXACT): Match => ({
  headers: [{ name, type, value }],
})
const query = (name: string, value: string, type: StringMatchType = EXACT): Match => ({
  query: [{ name, type, value }],
})

function rule(name: string, matches: Match[], more: RuleInit = {}): RuleInit {
  return { ref: { kind: 'HTTPRoute', namespace: 'shop', name: 'r', version: '1' }, name, matches, ...more } as RuleInit
}

function compile(rules: RuleInit[], consumer = 'shop') {
  return compileRoutes(create(ServiceSchema, { namespace: 'shop', name: 'orders', rules }), consumer)
}

/** Rules in the given order; which one answers. */
const precedence: [string, RuleInit[], Partial<RequestHead>, string | undefined][] = [
  [
    'exact over longer prefix',
    [rule('prefix', [prefix('/a/b')]), rule('exact', [exact('/a/b')])],
    { target: '/a/b' },
    'exact',
  ],
  ['exact does not match below', [rule('exact', [exact('/a')])], { target: '/a/b' }, undefined],
  ['exact does not match with a slash more', [rule('exact', [exact('/a')])], { target: '/a/' }, undefined],
  ['the query is not part of the path', [rule('exact', [exact('/a')])], { target: '/a?b=c' }, 'exact'],
  ['longest prefix', [rule('short', [prefix('/a')]), rule('long', [prefix('/a/b')])], { target: '/a/b/c' }, 'long'],
  ['prefix is by element', [rule('a', [prefix('/abc')])], { target: '/abcd' }, undefined],
  ['prefix matches itself', [rule('a', [prefix('/abc')])], { target: '/abc' }, 'a'],
  ['prefix matches with a slash', [rule('a', [prefix('/abc')])], { target: '/abc/' }, 'a'],
  ['a slash at the end of a prefix does not count', [rule('a', [prefix('/abc/')])], { target: '/abc' }, 'a'],
  ['prefix / matches everything', [rule('a', [prefix('/')])], { target: '/x/y' }, 'a'],
  ['Host is a header', [rule('a', [header('Host', 'Shop.test:80')])], { authority: 'shop.test:80' }, 'a'],
  [
    'Host with another port is another one',
    [rule('a', [header('host', 'shop.test')])],
    { authority: 'shop.test:80' },
    undefined,
  ],
  ['Host by regular expression', [rule('a', [header('host', '.*[.]test', REGEX)])], { authority: 'shop.test' }, 'a'],
  [
    'a query parameter named host is none',
    [rule('a', [query('host', 'A')])],
    { target: '/?host=A', authority: 'b' },
    'a',
  ],
  ['no path is prefix /', [rule('a', [{ method: 'GET' }])], { target: '/x/y' }, 'a'],
  ['paths have case', [rule('a', [prefix('/abc')])], { target: '/ABC' }, undefined],
  ['regex matches the whole path', [rule('a', [regex('/v[0-9]+')])], { target: '/v12/x' }, undefined],
  ['regex', [rule('a', [regex('/v[0-9]+/.*')])], { target: '/v12/x' }, 'a'],
  [
    'prefix over regex',
    [rule('regex', [regex('/v.*')]), rule('prefix', [prefix('/v1')])],
    { target: '/v1/x' },
    'prefix',
  ],
  ['regex over prefix /', [rule('any', [prefix('/')]), rule('regex', [regex('/v.*')])], { target: '/v1' }, 'regex'],
  ['regexes in given order', [rule('one', [regex('/v.*')]), rule('two', [regex('/v1')])], { target: '/v1' }, 'one'],
  [
    'method over none',
    [rule('none', [prefix('/a')]), rule('get', [prefix('/a', { method: 'GET' })])],
    { target: '/a' },
    'get',
  ],
  ['a method that differs', [rule('post', [prefix('/a', { method: 'POST' })])], { target: '/a' }, undefined],
  ['methods have case', [rule('get', [prefix('/a', { method: 'GET' })])], { target: '/a', method: 'get' }, undefined],
  [
    'method over headers',
    [rule('header', [prefix('/a', header('x', '1'))]), rule('get', [prefix('/a', { method: 'GET' })])],
    { target: '/a', headers: ['x', '1'] },
    'get',
  ],
  [
    'longer prefix over method and headers',
    [rule('rich', [prefix('/a', { method: 'GET', ...header('x', '1') })]), rule('long', [prefix('/a/b')])],
    { target: '/a/b', headers: ['x', '1'] },
    'long',
  ],
  [
    'more headers',
    [
      rule('one', [prefix('/', header('x', '1'))]),
      rule('two', [
        prefix('/', {
          headers: [
            { name: 'x', type: EXACT, value: '1' },
            { name: 'y', type: EXACT, value: '2' },
          ],
        }),
      ]),
    ],
    { headers: ['x', '1', 'Y', '2'] },
    'two',
  ],
  [
    'headers over query',
    [
      rule('query', [
        prefix('/', {
          query: [
            { name: 'a', type: EXACT, value: '1' },
            { name: 'b', type: EXACT, value: '1' },
          ],
        }),
      ]),
      rule('header', [prefix('/', header('x', '1'))]),
    ],
    { target: '/?a=1&b=1', headers: ['x', '1'] },
    'header',
  ],
  [
    'more query parameters',
    [
      rule('one', [prefix('/', query('a', '1'))]),
      rule('two', [
        prefix('/', {
          query: [
            { name: 'a', type: EXACT, value: '1' },
            { name: 'b', type: EXACT, value: '1' },
          ],
        }),
      ]),
    ],
    { target: '/?b=1&a=1' },
    'two',
  ],
  ['first of equals', [rule('one', [prefix('/a')]), rule('two', [prefix('/a')])], { target: '/a' }, 'one'],
  [
    'falls back when the better path lacks the header',
    [rule('canary', [exact('/a', header('x', '1'))]), rule('rest', [prefix('/')])],
    { target: '/a' },
    'rest',
  ],
  [
    'header names have no case',
    [rule('a', [prefix('/', header('X-User', 'ann'))])],
    { headers: ['x-uSER', 'ann'] },
    'a',
  ],
  ['header values have case', [rule('a', [prefix('/', header('x', 'ann'))])], { headers: ['x', 'Ann'] }, undefined],
  [
    'any of the raw header values',
    [rule('a', [prefix('/', header('x', '2'))])],
    { headers: ['x', '1', 'x', '2'] },
    'a',
  ],
  ['values are not split', [rule('a', [prefix('/', header('x', '2'))])], { headers: ['x', '1,2'] }, undefined],
  [
    'header regex matches the whole value',
    [rule('a', [prefix('/', header('x', 'a.c', REGEX))])],
    { headers: ['x', 'abcd'] },
    undefined,
  ],
  ['header regex', [rule('a', [prefix('/', header('x', 'a.c', REGEX))])], { headers: ['x', 'abc'] }, 'a'],
  ['query value is decoded', [rule('a', [prefix('/', query('q', 'a b'))])], { target: '/?q=a%20b' }, 'a'],
  ['query name is decoded', [rule('a', [prefix('/', query('q q', '1'))])], { target: '/?x&q+q=1' }, 'a'],
  [
    'only the first of a repeated parameter',
    [rule('a', [prefix('/', query('q', '2'))])],
    { target: '/?q=1&q=2' },
    undefined,
  ],
  ['query parameter without value', [rule('a', [prefix('/', query('q', ''))])], { target: '/?q' }, 'a'],
  ['query names have case', [rule('a', [prefix('/', query('q', '1'))])], { target: '/?Q=1' }, undefined],
  ['one of several matches', [rule('a', [exact('/x'), exact('/y')])], { target: '/y' }, 'a'],
  ['no rules', [], {}, undefined],
]

for (const [what, rules, request, expected] of precedence) {
  test(`routes: ${what}`, () => {
    assert.equal(compile(rules).match(exchange(request), 80)?.rule.name, expected)
  })
}

/** Service and method of a GRPCRoute's match, as the control plane says them. */
function grpc(path: Match, serviceCharacters = 0, methodCharacters = 0): Match {
  return { ...path, grpc: { serviceCharacters, methodCharacters } } as Match
}

/** The same, with a match of the header `x`. */
const andHeader = (match: Match): Match => ({ ...match, ...header('x', '1') }) as Match

const call = (target: string, headers: string[] = [], type = 'application/grpc'): Partial<RequestHead> => ({
  method: 'POST',
  target,
  headers: ['content-type', type, ...headers],
})

const any = grpc(prefix('/'))
const ofService = grpc(prefix('/a.B'), 3)
const exactly = grpc(exact('/a.B/Get'), 3, 3)
const anyGet = grpc(regex('/[^/]+/Get'), 0, 3)
const shortService = grpc(regex('/(?:a..)/[^/]+'), 3)
const longService = grpc(regex('/(?:a[.]B)/[^/]+'), 6)
const longBoth = grpc(regex('/(?:a[.]B)/(?:Ge.)'), 6, 3)

const grpcPrecedence: [string, RuleInit[], Partial<RequestHead>, string | undefined][] = [
  ['service and method', [rule('a', [exactly])], call('/a.B/Get'), 'a'],
  ['another method', [rule('a', [exactly])], call('/a.B/Gets'), undefined],
  ['methods have case', [rule('a', [exactly])], call('/a.B/get'), undefined],
  ['a service alone', [rule('a', [ofService])], call('/a.B/Any'), 'a'],
  ['a service that only begins like it', [rule('a', [ofService])], call('/a.BC/Any'), undefined],
  ['a method alone', [rule('a', [anyGet])], call('/x.Y/Get'), 'a'],
  ['a method alone, another one', [rule('a', [anyGet])], call('/x.Y/GetAll'), undefined],
  ['everything', [rule('a', [any])], call('/x.Y/Z'), 'a'],
  ['with an encoding and parameters', [rule('a', [any])], call('/x.Y/Z', [], 'application/grpc+proto;x=y'), 'a'],
  ['not what is no gRPC', [rule('a', [any])], call('/x.Y/Z', [], 'application/json'), undefined],
  ['not gRPC-Web', [rule('a', [any])], call('/x.Y/Z', [], 'application/grpc-web+proto'), undefined],
  ['not a GET', [rule('a', [any])], { ...call('/x.Y/Z'), method: 'GET' }, undefined],
  ['not what has no type', [rule('a', [exactly])], { method: 'POST', target: '/a.B/Get' }, undefined],
  ['method over service', [rule('service', [ofService]), rule('method', [exactly])], call('/a.B/Get'), 'method'],
  ['service over method', [rule('method', [anyGet]), rule('service', [ofService])], call('/a.B/Get'), 'service'],
  ['method over everything', [rule('any', [any]), rule('method', [anyGet])], call('/a.B/Get'), 'method'],
  [
    'service over headers',
    [rule('headers', [andHeader(any)]), rule('service', [ofService])],
    call('/a.B/Get', ['x', '1']),
    'service',
  ],
  [
    'headers over none',
    [rule('none', [exactly]), rule('headers', [andHeader(exactly)])],
    call('/a.B/Get', ['x', '1']),
    'headers',
  ],
  [
    'expressions: the longer service',
    [rule('short', [shortService]), rule('long', [longService])],
    call('/a.B/Get'),
    'long',
  ],
  [
    'expressions: then the longer method',
    [rule('service', [longService]), rule('both', [longBoth])],
    call('/a.B/Get'),
    'both',
  ],
  [
    'expressions: a service over a method alone, whatever headers that has',
    [rule('method', [andHeader(anyGet)]), rule('service', [shortService])],
    call('/a.B/Get', ['x', '1']),
    'service',
  ],
  [
    'expressions: of equals the one with more headers',
    [rule('none', [longService]), rule('headers', [andHeader(longService)])],
    call('/a.B/Get', ['x', '1']),
    'headers',
  ],
  ['first of equals', [rule('one', [exactly]), rule('two', [exactly])], call('/a.B/Get'), 'one'],
]

for (const [what, rules, request, expected] of grpcPrecedence) {
  test(`routes gRPC: ${what}`, () => {
    assert.equal(compile(rules).match(exchange(request), 80)?.rule.name, expected)
  })
}

test('a rule of a port holds for that port only', () => {
  const table = compile([rule('any', [prefix('/')]), rule('admin', [exact('/x')], { port: 9090 })])
  assert.equal(table.match(exchange({ target: '/x' }), 9090)?.rule.name, 'admin')
  assert.equal(table.match(exchange({ target: '/x' }), 80)?.rule.name, 'any')
  assert.equal(table.match(exchange({ target: '/y' }), 9090)?.rule.name, 'any')
})

test('consumer routes come first for their namespace, and do not exist for others', () => {
  const rules = [rule('producer', [exact('/a')]), rule('consumer', [prefix('/')], { consumerNamespace: 'web' })]
  assert.equal(compile(rules, 'web').match(exchange({ target: '/a' }), 80)?.rule.name, 'consumer')
  assert.equal(compile(rules, 'shop').match(exchange({ target: '/a' }), 80)?.rule.name, 'producer')
  assert.equal(compile(rules, 'shop').match(exchange({ target: '/b' }), 80), undefined)
})

test('for a namespace with consumer routes there are no producer routes, port by port', () => {
  const rules = [
    rule('producer', [prefix('/')]),
    rule('consumer', [exact('/a')], { consumerNamespace: 'web', port: 80 }),
    rule('other', [exact('/b')], { consumerNamespace: 'desk' }),
  ]
  const found = (namespace: string, target: string, port: number) =>
    compile(rules, namespace).match(exchange({ target }), port)?.rule.name
  assert.equal(found('web', '/a', 80), 'consumer')
  assert.equal(found('web', '/b', 80), undefined, 'no producer route for what the consumer routes leave out')
  assert.equal(found('web', '/b', 81), 'producer', 'the consumer route is not for this port')
  assert.equal(found('desk', '/b', 81), 'other')
  assert.equal(found('shop', '/a', 80), 'producer')
})

test('the implied rule steps back where there is any route', () => {
  const implied: RuleInit = { name: '0', matches: [prefix('/')] }
  const rules = [implied, rule('consumer', [exact('/a')], { consumerNamespace: 'web' })]
  assert.equal(compile(rules, 'web').match(exchange({ target: '/b' }), 80), undefined)
  assert.equal(compile(rules, 'shop').match(exchange({ target: '/b' }), 80)?.name, 'default')
})

test('the prefix that was met is told', () => {
  const table = compile([rule('a', [prefix('/a/'), prefix('/b/c')])])
  assert.equal(table.match(exchange({ target: '/a/x' }), 80)?.prefix, '/a')
  assert.equal(table.match(exchange({ target: '/b/c' }), 80)?.prefix, '/b/c')
})

const broken: [string, Match, RegExp][] = [
  ['a bad regex', regex('/(a'), /HTTPRoute shop\/r broken: path: regular expression "\/\(a" is not RE2/],
  ['a back-reference', regex('/(a)\\1'), /is not RE2/],
  ['a bad header regex', prefix('/', header('x', '[', REGEX)), /header "x": regular expression/],
  ['a path without type', { path: '/a', pathType: UNSPECIFIED }, /path "\/a" has no match type/],
  ['an unknown path type', { path: '/a', pathType: 9 as StringMatchType }, /not known to this version/],
  ['a header without type', prefix('/', header('x', '1', UNSPECIFIED)), /match type must be/],
  ['a header by prefix', prefix('/', header('x', '1', PREFIX)), /match type must be/],
  ['a nameless header', prefix('/', header('', '1')), /has no name/],
  ['a relative path', exact('a'), /must start with "\/"/],
  ['a relative prefix', prefix('a'), /must start with "\/"/],
]

for (const [what, match, reason] of broken) {
  test(`refuses ${what}`, () => assert.throws(() => compile([rule('broken', [match])]), reason))
}

test('refuses a rule without matches', () => {
  assert.throws(() => compile([rule('empty', [])]), /HTTPRoute shop\/r empty: a rule without matches/)
})

test('a regex that would run away takes linear time', () => {
  const table = compile([rule('a', [regex('/(a+)+b')])])
  assert.equal(table.match(exchange({ target: '/' + 'a'.repeat(5_000) }), 80), undefined)
})

test('the number of rules does not matter to an exact or prefix lookup', () => {
  const rules = Array.from({ length: 500 }, (_, i) => rule(`r${i}`, [prefix(`/p${i}/q`), exact(`/e${i}`)]))
  const table = compile(rules)
  assert.equal(table.match(exchange({ target: '/p499/q/r' }), 80)?.rule.name, 'r499')
  assert.equal(table.match(exchange({ target: '/e250' }), 80)?.rule.name, 'r250')
})
