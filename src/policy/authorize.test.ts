import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { answer, exchange } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  type AuthorizationRuleSchema,
  type AuthorizationSchema,
  AuthorizationSchema as schema,
} from '../api/gen/outrigger_pb.ts'
import type { MeshError } from '../base/errors.ts'
import type { Downstream, RequestHead } from '../base/exchange.ts'
import { normalizeTarget } from '../route/path.ts'
import { authorize } from './authorize.ts'
import type { PolicyEvent } from './env.ts'

type Policy = MessageInitShape<typeof AuthorizationSchema>
type Rule = MessageInitShape<typeof AuthorizationRuleSchema>

const web = 'spiffe://cluster.local/ns/shop/sa/web'
const evil = 'spiffe://cluster.local/ns/evil/sa/web'

const policy = (more: Policy, name = 'p'): Policy =>
  ({ ref: { kind: 'AuthorizationPolicy', namespace: 'shop', name, version: '2' }, ...more }) as Policy
const allow = (...rules: Rule[]): Policy => policy({ rules })
const deny = (...rules: Rule[]): Policy => policy({ deny: true, rules }, 'd')
const shadow = (of: Policy): Policy => ({ ...of, shadow: true }) as Policy

async function decide(
  policies: Policy[],
  request: Partial<RequestHead> = {},
  from: Partial<Downstream> = {},
): Promise<{ outcome: string; error: MeshError | undefined; events: PolicyEvent[]; reached: number }> {
  const events: PolicyEvent[] = []
  const layer = authorize(
    policies.map((init) => create(schema, init)),
    { clock: new FakeClock(), onEvent: (event) => void events.push(event) },
  )!
  let reached = 0
  let error: MeshError | undefined
  const target = normalizeTarget(request.target ?? '/')
  const service = layer(() => {
    reached++
    return Promise.resolve(answer())
  })
  await service(exchange({ ...request, target }, { direction: 'inbound', identity: web, ...from })).catch(
    (caught: unknown) => {
      error = caught as MeshError
    },
  )
  return { outcome: error?.code ?? 'passed', error, events, reached }
}

/** Head of a gRPC call. */
const call = (target: string): Partial<RequestHead> => ({
  method: 'POST',
  target,
  version: '2',
  headers: ['content-type', 'application/grpc'],
})

const source = (of: object): Rule => ({ sources: [of] }) as Rule
const operation = (of: object): Rule => ({ operations: [of] }) as Rule

const table: [string, Policy[], Partial<RequestHead>, Partial<Downstream>, 'passed' | 'DENIED' | 'BAD_REQUEST'][] = [
  ['ALLOW without rules allows nothing', [allow()], {}, {}, 'DENIED'],
  ['DENY without rules denies nothing', [deny()], {}, {}, 'passed'],
  ['a rule without parts holds always', [allow({})], {}, {}, 'passed'],
  ['DENY everything', [deny({})], {}, {}, 'DENIED'],
  ['DENY before ALLOW', [allow({}), deny({})], {}, {}, 'DENIED'],
  ['one ALLOW is enough', [allow(), allow({})], {}, {}, 'passed'],
  ['one rule is enough', [allow(operation({ methods: ['PUT'] }), operation({ methods: ['GET'] }))], {}, {}, 'passed'],
  [
    'source and operation both',
    [allow({ ...source({ principals: [web] }), ...operation({ methods: ['PUT'] }) } as Rule)],
    {},
    {},
    'DENIED',
  ],

  ['principal', [allow(source({ principals: [web] }))], {}, {}, 'passed'],
  ['principal without scheme', [allow(source({ principals: ['cluster.local/ns/shop/sa/web'] }))], {}, {}, 'passed'],
  ['another principal', [allow(source({ principals: [web] }))], {}, { identity: evil }, 'DENIED'],
  ['principal by prefix', [allow(source({ principals: ['spiffe://cluster.local/ns/shop/*'] }))], {}, {}, 'passed'],
  [
    'principal by prefix, other',
    [allow(source({ principals: ['cluster.local/ns/shop/*'] }))],
    {},
    { identity: evil },
    'DENIED',
  ],
  ['principal by suffix', [allow(source({ principals: ['*/sa/web'] }))], {}, { identity: evil }, 'passed'],
  ['any principal', [allow(source({ principals: ['*'] }))], {}, {}, 'passed'],
  ['a plaintext peer has no principal', [allow(source({ principals: ['*'] }))], {}, { identity: undefined }, 'DENIED'],
  ['a principal has case', [allow(source({ principals: [web] }))], {}, { identity: web.toUpperCase() }, 'DENIED'],
  ['a principal is whole', [allow(source({ principals: [web] }))], {}, { identity: `${web}2` }, 'DENIED'],
  ['not a principal', [allow(source({ notPrincipals: [evil] }))], {}, {}, 'passed'],
  ['not a principal, but it is', [allow(source({ notPrincipals: [web] }))], {}, {}, 'DENIED'],
  [
    'ALLOW not-principal opens no door to plaintext',
    [allow(source({ notPrincipals: [evil] }))],
    {},
    { identity: undefined },
    'DENIED',
  ],
  [
    'DENY not-principal holds for plaintext',
    [deny(source({ notPrincipals: [web] }))],
    {},
    { identity: undefined },
    'DENIED',
  ],
  ['DENY not-principal spares the one', [deny(source({ notPrincipals: [web] }))], {}, {}, 'passed'],

  ['namespace', [allow(source({ namespaces: ['shop'] }))], {}, {}, 'passed'],
  ['another namespace', [allow(source({ namespaces: ['shop'] }))], {}, { identity: evil }, 'DENIED'],
  ['namespace of a plaintext peer', [allow(source({ namespaces: ['*'] }))], {}, { identity: undefined }, 'DENIED'],
  ['not a namespace', [deny(source({ notNamespaces: ['shop'] }))], {}, { identity: evil }, 'DENIED'],
  [
    'namespace comes from its place in the id',
    [allow(source({ namespaces: ['shop'] }))],
    {},
    { identity: 'spiffe://x/a/ns/shop/sa/b' },
    'DENIED',
  ],

  ['address in a block', [allow(source({ ipBlocks: ['10.1.0.0/16'] }))], {}, {}, 'passed'],
  ['address outside', [allow(source({ ipBlocks: ['10.2.0.0/16'] }))], {}, {}, 'DENIED'],
  ['a single address', [allow(source({ ipBlocks: ['10.1.0.9'] }))], {}, {}, 'passed'],
  ['not in a block', [deny(source({ notIpBlocks: ['10.1.0.0/16'] }))], {}, {}, 'passed'],
  ['IPv6', [allow(source({ ipBlocks: ['fd00::/8'] }))], {}, { remoteAddress: 'fd00::7' }, 'passed'],
  ['IPv4 in IPv6', [allow(source({ ipBlocks: ['10.1.0.0/16'] }))], {}, { remoteAddress: '::ffff:10.1.0.9' }, 'passed'],
  [
    'a zone is no part of the address',
    [allow(source({ ipBlocks: ['fe80::/10'] }))],
    {},
    { remoteAddress: 'fe80::1%eth0' },
    'passed',
  ],
  [
    'what is no address is denied',
    [deny(source({ ipBlocks: ['10.9.0.0/16'] }))],
    {},
    { remoteAddress: 'unix' },
    'DENIED',
  ],

  ['method', [allow(operation({ methods: ['GET'] }))], { method: 'POST' }, {}, 'DENIED'],
  ['not a method', [deny(operation({ notMethods: ['GET', 'HEAD'] }))], { method: 'POST' }, {}, 'DENIED'],
  ['path', [allow(operation({ paths: ['/a'] }))], { target: '/a?x=1' }, {}, 'passed'],
  ['path, exactly', [allow(operation({ paths: ['/a'] }))], { target: '/a/b' }, {}, 'DENIED'],
  ['path by prefix', [allow(operation({ paths: ['/a/*'] }))], { target: '/a/b' }, {}, 'passed'],
  ['path by suffix', [deny(operation({ paths: ['*.bak'] }))], { target: '/x/y.bak' }, {}, 'DENIED'],
  ['gRPC method', [allow(operation({ paths: ['/shop.v1.Orders/Get'] }))], call('/shop.v1.Orders/Get'), {}, 'passed'],
  ['another method', [allow(operation({ paths: ['/shop.v1.Orders/Get'] }))], call('/shop.v1.Orders/Put'), {}, 'DENIED'],
  [
    'the letters of a method',
    [allow(operation({ paths: ['/shop.Orders/Get'] }))],
    call('/shop.Orders/get'),
    {},
    'DENIED',
  ],
  ['gRPC service', [allow(operation({ paths: ['/shop.v1.Orders/*'] }))], call('/shop.v1.Orders/Put'), {}, 'passed'],
  [
    'a longer name',
    [allow(operation({ paths: ['/shop.v1.Orders/*'] }))],
    call('/shop.v1.OrdersAdmin/Put'),
    {},
    'DENIED',
  ],
  ['gRPC package', [deny(operation({ paths: ['/shop.internal.*'] }))], call('/shop.internal.Keys/Get'), {}, 'DENIED'],
  ['denied method', [deny(operation({ paths: ['/shop.Orders/Drop'] }))], call('/shop.Orders/Drop'), {}, 'DENIED'],
  ['in other letters', [deny(operation({ paths: ['/shop.Orders/Drop'] }))], call('/SHOP.orders/drop'), {}, 'DENIED'],
  ['with escapes', [deny(operation({ paths: ['/shop.Orders/Drop'] }))], call('/shop%2EOrders/%44rop'), {}, 'DENIED'],
  ['with two slashes', [deny(operation({ paths: ['/shop.Orders/Drop'] }))], call('//shop.Orders//Drop'), {}, 'DENIED'],
  [
    'another method than denied',
    [deny(operation({ paths: ['/shop.Orders/Drop'] }))],
    call('/shop.Orders/Get'),
    {},
    'passed',
  ],
  ['service by method POST', [deny(operation({ methods: ['POST'], paths: ['/a.B/*'] }))], call('/a.B/C'), {}, 'DENIED'],
  ['not a path', [deny(operation({ notPaths: ['/public*'] }))], { target: '/secret' }, {}, 'DENIED'],
  ['port', [allow(operation({ ports: [8080] }))], {}, {}, 'passed'],
  ['another port', [allow(operation({ ports: [9090] }))], {}, {}, 'DENIED'],
  ['not a port', [deny(operation({ notPorts: [8080] }))], {}, {}, 'passed'],
  [
    'host without case or port',
    [allow(operation({ hosts: ['Orders.shop'] }))],
    { authority: 'orders.shop:80' },
    {},
    'passed',
  ],
  ['host with port', [allow(operation({ hosts: ['orders.shop:80'] }))], { authority: 'orders.shop:80' }, {}, 'passed'],
  ['host by suffix', [allow(operation({ hosts: ['*.shop'] }))], {}, {}, 'passed'],
  ['another host', [allow(operation({ hosts: ['orders.pay'] }))], {}, {}, 'DENIED'],
  ['not a host', [deny(operation({ notHosts: ['orders.shop'] }))], { authority: 'x' }, {}, 'DENIED'],

  [
    'a path that cannot be read where a policy names paths',
    [deny(operation({ paths: ['/admin'] }))],
    { target: '/%ff' },
    {},
    'BAD_REQUEST',
  ],
  ['a path that cannot be read where none does', [allow({})], { target: '/%ff' }, {}, 'passed'],
  [
    'a path that cannot be read under a policy in Shadow',
    [shadow(deny(operation({ paths: ['/admin'] })))],
    { target: '/%ff' },
    {},
    'passed',
  ],
  [
    'ALLOW not-path opens no door to a connection without a path',
    [allow(operation({ notPaths: ['/admin'] }))],
    { method: '', target: '', authority: '' },
    {},
    'DENIED',
  ],
  [
    'DENY not-path holds for a connection without a path',
    [deny(operation({ notPaths: ['/public'] }))],
    { method: '', target: '', authority: '' },
    {},
    'DENIED',
  ],
  ['DENY by any reading', [deny(operation({ paths: ['/admin'] }))], { target: '//admin' }, {}, 'DENIED'],
  ['a spelling that no rule is about', [deny(operation({ paths: ['/admin'] }))], { target: '/p/a%2Fb' }, {}, 'passed'],
  ['ALLOW by all readings', [allow(operation({ paths: ['/p/*'] }))], { target: '/p/a%2Fb' }, {}, 'passed'],
  ['ALLOW, but one reading leaves', [allow(operation({ paths: ['/p/*'] }))], { target: '/p/..%2Fq' }, {}, 'DENIED'],
  ['ALLOW of an escaped slash', [allow(operation({ paths: ['/p/a%2fb'] }))], { target: '/p/a%2Fb' }, {}, 'passed'],
  ['ALLOW not-path by any reading', [allow(operation({ notPaths: ['/q'] }))], { target: '/p/..;/q' }, {}, 'DENIED'],
  ['ALLOW not-path elsewhere', [allow(operation({ notPaths: ['/q'] }))], { target: '/p;v=1' }, {}, 'passed'],
  ['DENY not-path by all readings', [deny(operation({ notPaths: ['/p/*'] }))], { target: '/p/..%2fq' }, {}, 'DENIED'],
  ['DENY not-path spares', [deny(operation({ notPaths: ['/p/*'] }))], { target: '/p/a%2fb' }, {}, 'passed'],
  ['DENY does not care for case', [deny(operation({ paths: ['/Admin/*'] }))], { target: '/aDMIN/x' }, {}, 'DENIED'],
  ['ALLOW does', [allow(operation({ paths: ['/Public'] }))], { target: '/public' }, {}, 'DENIED'],
  ['DENY not-path does', [deny(operation({ notPaths: ['/public'] }))], { target: '/PUBLIC' }, {}, 'DENIED'],
  ['ALLOW not-path does not', [allow(operation({ notPaths: ['/admin'] }))], { target: '/ADMIN' }, {}, 'DENIED'],
  ['DENY of what is not ASCII', [deny(operation({ paths: ['/caf\u00e9'] }))], { target: '/caf%c3%a9' }, {}, 'DENIED'],
  ['ALLOW of what is not ASCII', [allow(operation({ paths: ['/caf%c3%a9'] }))], { target: '/caf%C3%A9' }, {}, 'passed'],
  ['a name that ends in a dot', [deny(operation({ paths: ['/admin'] }))], { target: '/wiki/Apple_Inc.' }, {}, 'passed'],
  [
    'ALLOW of a name that ends in a dot',
    [allow(operation({ paths: ['/w/Inc.'] }))],
    { target: '/w/Inc.' },
    {},
    'passed',
  ],
  ['a prefix keeps its slash', [deny(operation({ paths: ['/admin/*'] }))], { target: '/administrator' }, {}, 'passed'],
  ['DENY by suffix without case', [deny(operation({ paths: ['*.bak'] }))], { target: '/x.BAK;v=1' }, {}, 'DENIED'],
  ['DENY method without case', [deny(operation({ methods: ['DELETE'] }))], { method: 'delete' }, {}, 'DENIED'],
  ['ALLOW method with case', [allow(operation({ methods: ['GET'] }))], { method: 'get' }, {}, 'DENIED'],
  ['ALLOW not-method without case', [allow(operation({ notMethods: ['PUT'] }))], { method: 'Put' }, {}, 'DENIED'],
  ['DENY host with its dot', [deny(operation({ hosts: ['a.shop'] }))], { authority: 'a.shop.:80' }, {}, 'DENIED'],
  ['DENY host, zeros', [deny(operation({ hosts: ['a.shop:8080'] }))], { authority: 'a.shop:08080' }, {}, 'DENIED'],
  ['DENY host, port meant', [deny(operation({ hosts: ['a.shop:80'] }))], { authority: 'a.shop' }, {}, 'DENIED'],
  ['ALLOW not-host with its dot', [allow(operation({ notHosts: ['a.shop'] }))], { authority: 'a.shop.' }, {}, 'DENIED'],
  ['ALLOW not-host without a host', [allow(operation({ notHosts: ['a.shop'] }))], { authority: '' }, {}, 'DENIED'],
  [
    'a dot in a principal is a dot (CVE-2026-39350)',
    [allow(source({ principals: ['spiffe://cluster.local/ns/shop/sa/a.b'] }))],
    {},
    { identity: 'spiffe://cluster.local/ns/shop/sa/axb' },
    'DENIED',
  ],

  ['Shadow ALLOW denies nothing', [shadow(allow())], {}, {}, 'passed'],
  ['Shadow DENY denies nothing', [shadow(deny({}))], {}, {}, 'passed'],
  ['Shadow ALLOW allows nothing', [allow(), shadow(allow({}))], {}, {}, 'DENIED'],
]

describe('who may', () => {
  for (const [what, policies, request, from, expected] of table) {
    test(`${what}: ${expected}`, async () => {
      const { outcome, reached } = await decide(policies, request, from)
      assert.equal(outcome, expected)
      assert.equal(reached, expected === 'passed' ? 1 : 0)
    })
  }
})

describe('every spelling of a denied path', () => {
  const spellings = [
    '/admin',
    '/./admin',
    '/x/../admin',
    '/%61dmin',
    '/%61%64%6D%69%6e',
    '/admin?x',
    '/x/%2e%2e/admin',
    '//admin',
    '/.//admin',
    '/admin;x=1',
    '/;/admin',
    '/x/..;/admin',
    '/x%2f..%2fadmin',
    '/x/..%2fadmin',
    '/%2fadmin',
    '/a/b/../../admin',
    '/%2e/admin',
    '/%252e/admin',
    '/%c0%ae/admin',
    '/..%c0%af/admin',
    '/admin;',
  ]
  for (const target of spellings) {
    test(target, async () => {
      const { outcome } = await decide([deny(operation({ paths: ['/admin'] }))], { target })
      assert.ok(outcome === 'DENIED' || outcome === 'BAD_REQUEST', outcome)
    })
  }
})

test('no policies, no layer', () => assert.equal(authorize([], { clock: new FakeClock() }), undefined))

test('the refusal names policy and peer', async () => {
  const { error, events } = await decide([deny({})])
  assert.equal(error!.message, `GET by ${web} is denied by a DENY rule of AuthorizationPolicy shop/d`)
  assert.equal(error!.policy?.name, 'd')
  assert.deepEqual(
    events.map(({ outcome, shadow: off }) => [outcome, off]),
    [['denied', false]],
  )
  const nothing = await decide([allow()], {}, { identity: undefined })
  assert.match(nothing.error!.message, /a peer without identity is denied because nothing allows it/)
})

test('Shadow counts what it would do', async () => {
  const would = async (of: Policy): Promise<unknown> =>
    (await decide([shadow(of)])).events.map(({ outcome, shadow: off }) => [outcome, off])
  assert.deepEqual(await would(deny({})), [['denied', true]])
  assert.deepEqual(await would(allow()), [['denied', true]])
  assert.deepEqual(await would(allow({})), [['allowed', true]])
  assert.deepEqual(await would(deny()), [['allowed', true]])
})

test('a failure in Shadow harms nobody', async () => {
  const { outcome, events } = await decide(
    [shadow(deny(source({ ipBlocks: ['10.0.0.0/8'] })))],
    {},
    { remoteAddress: '?' },
  )
  assert.equal(outcome, 'passed')
  assert.deepEqual(
    events.map(({ outcome: of }) => of),
    ['denied'],
  )
})

for (const block of ['10.0.0.0/33', '10.0.0.0/x', '10.0.0/8', 'fd00::/129', '', '10.0.0.0/8/8', '10.0.0.0/']) {
  test(`refuses the block "${block}"`, async () => {
    await assert.rejects(decide([allow(source({ ipBlocks: [block] }))]), /is not an address block/)
  })
}
