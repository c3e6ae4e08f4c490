import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { answer, exchange } from '../../test/support/exchanges.ts'
import {
  HttpFilterSchema,
  PathRewrite,
  RedirectSchema,
  RouteMatchSchema,
  StringMatchType,
} from '../api/gen/outrigger_pb.ts'
import type { Exchange, Headers } from '../base/exchange.ts'
import { compileMatch } from '../route/match.ts'
import { filters } from './filters.ts'
import { redirect } from './redirect.ts'

type Filter = NonNullable<MessageInitShape<typeof HttpFilterSchema>['filter']>

const match = (path: string, pathType: StringMatchType = StringMatchType.PREFIX) =>
  compileMatch(create(RouteMatchSchema, { pathType, path }))

const layer = (list: Filter[], at = match('/')) =>
  filters(
    list.map((filter) => create(HttpFilterSchema, { filter })),
    at,
  )

async function through(list: Filter[], request: Exchange, at = match('/')): Promise<Headers> {
  const response = await layer(list, at)!(() => Promise.resolve(answer(200, ['Server', 'app', 'x-old', '1'])))(request)
  return response.headers
}

test('request headers: remove, set, add', async () => {
  const request = exchange({ headers: ['X-A', '1', 'x-b', '2', 'x-c', '3', 'X-C', '4'] })
  const value = { remove: ['x-B'], set: [{ name: 'x-c', value: 'new' }], add: [{ name: 'x-a', value: 'more' }] }
  await through([{ case: 'requestHeaders', value }], request)
  assert.deepEqual(request.request.headers, ['X-A', '1', 'x-c', 'new', 'x-a', 'more'])
})

test('response headers', async () => {
  const value = { remove: ['server'], set: [{ name: 'X-Old', value: '2' }], add: [{ name: 'x-new', value: '3' }] }
  assert.deepEqual(await through([{ case: 'responseHeaders', value }], exchange()), ['X-Old', '2', 'x-new', '3'])
})

test('nothing to do, no layer', () => assert.equal(layer([]), undefined))

const refused: [string, Filter][] = [
  ['a header name with a space', { case: 'requestHeaders', value: { set: [{ name: 'a b', value: '' }] } }],
  ['a value with a line break', { case: 'requestHeaders', value: { add: [{ name: 'a', value: 'x\r\ny: z' }] } }],
  ['a framing header', { case: 'requestHeaders', value: { set: [{ name: 'Content-Length', value: '1' }] } }],
  [
    'a framing header in a response',
    { case: 'responseHeaders', value: { set: [{ name: 'Transfer-Encoding', value: 'x' }] } },
  ],
  ['a relative path', { case: 'rewrite', value: { pathType: PathRewrite.FULL, path: 'x' } }],
  ['an unknown path modifier', { case: 'rewrite', value: { pathType: 9 as PathRewrite, path: '/x' } }],
  ['no filter', { case: undefined }],
]
for (const [what, filter] of refused) test(`refuses ${what}`, () => assert.throws(() => layer([filter])))

test('a prefix is replaced only where a prefix was matched', () => {
  const value = { pathType: PathRewrite.PREFIX, path: '/x' }
  assert.throws(() => layer([{ case: 'rewrite', value }], match('/a', StringMatchType.EXACT)), /PathPrefix/)
})

/** Path, matched prefix, replacement, result: the table of HTTPPathModifier. */
const prefixes: [string, string, string, string][] = [
  ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
  ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
  ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
  ['/foo/bar', '/foo/', '/xyz/', '/xyz/bar'],
  ['/foo', '/foo', '/xyz', '/xyz'],
  ['/foo/', '/foo', '/xyz', '/xyz/'],
  ['/foo/bar', '/foo', '', '/bar'],
  ['/foo/', '/foo', '', '/'],
  ['/foo', '/foo', '', '/'],
  ['/foo/', '/foo', '/', '/'],
  ['/foo', '/foo', '/', '/'],
  ['/foo', '/', '/xyz', '/xyz/foo'],
  ['/foo?a=/foo', '/foo', '/xyz', '/xyz?a=/foo'],
]
for (const [target, prefix, path, expected] of prefixes) {
  test(`${target} under ${prefix} to ${path || 'nothing'}`, async () => {
    const request = exchange({ target })
    await through([{ case: 'rewrite', value: { pathType: PathRewrite.PREFIX, path } }], request, match(prefix))
    assert.equal(request.request.target, expected)
  })
}

test('a whole path and a hostname are replaced, the query stays', async () => {
  const request = exchange({ target: '/a/b?c=d' })
  await through([{ case: 'rewrite', value: { pathType: PathRewrite.FULL, path: '/x', hostname: 'New.Host' } }], request)
  assert.deepEqual([request.request.target, request.request.authority], ['/x?c=d', 'new.host'])
})

describe('redirect', () => {
  type Init = MessageInitShape<typeof RedirectSchema>
  const to = async (
    policy: Init,
    authority = 'orders.shop',
    target = '/a/b?q=1',
    at = match('/a'),
  ): Promise<string> => {
    const request = exchange({ authority, target })
    request.servicePort = 8080
    const response = await redirect(create(RedirectSchema, policy), at)(request)
    return `${response.status} ${response.headers.join(' ')}`
  }
  const rows: [string, Init, string, string][] = [
    ['the port that was called', {}, 'orders.shop', '302 location http://orders.shop:8080/a/b?q=1'],
    ['the port that was given', {}, 'orders.shop:9090', '302 location http://orders.shop:9090/a/b?q=1'],
    ['the port 80 is not shown', {}, 'orders.shop:80', '302 location http://orders.shop/a/b?q=1'],
    ['a scheme brings its port', { scheme: 'https' }, 'orders.shop:9090', '302 location https://orders.shop/a/b?q=1'],
    [
      'scheme and port',
      { scheme: 'https', port: 8443 },
      'orders.shop',
      '302 location https://orders.shop:8443/a/b?q=1',
    ],
    ['a port', { port: 80 }, 'orders.shop:9090', '302 location http://orders.shop/a/b?q=1'],
    [
      'a hostname and a status',
      { hostname: 'x.example', status: 301, port: 80 },
      'a',
      '301 location http://x.example/a/b?q=1',
    ],
    ['a path', { pathType: PathRewrite.FULL, path: '/n', port: 80 }, 'a', '302 location http://a/n?q=1'],
    ['a prefix', { pathType: PathRewrite.PREFIX, path: '/n', port: 80 }, 'a', '302 location http://a/n/b?q=1'],
    ['IPv6', { port: 81 }, '[::1]', '302 location http://[::1]:81/a/b?q=1'],
  ]
  for (const [what, policy, authority, expected] of rows) {
    test(what, async () => assert.equal(await to(policy, authority), expected))
  }
  test('refuses another status or scheme', async () => {
    await assert.rejects(to({ status: 200 }), /not 301/)
    await assert.rejects(to({ scheme: 'ftp' }), /not http or https/)
  })
})
