import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RE2JS } from 're2js'
import { loadDocuments } from '../documents/load-documents.ts'
import { pathExpression } from './grpc-match.ts'
import { grpcRoute } from './grpc-route.ts'

const parentRefs = [{ group: '', kind: 'Service', name: 'orders', port: 9000 }]
const a = { name: 'a', port: 9000 }

function load(spec: unknown, apiVersion = 'gateway.networking.k8s.io/v1') {
  const text = JSON.stringify({ apiVersion, kind: 'GRPCRoute', metadata: { name: 'r' }, spec })
  return loadDocuments([{ path: 'x', text }]).problems
}

function faults(spec: unknown): string[] {
  return load(spec).map(({ path, message }) => `${path}: ${message}`)
}

const rule = (fields: object) => ({ parentRefs, rules: [fields] })
const method = (fields: object) => rule({ matches: [{ method: fields }] })
const filter = (...filters: object[]) => rule({ filters })

test('a rule without matches stays one: every gRPC request', () => {
  const value = grpcRoute.parse({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GRPCRoute',
    metadata: { name: 'r' },
    spec: { parentRefs, rules: [{ backendRefs: [a] }, { matches: [{ method: { service: 'a' } }] }] },
  })
  assert.deepEqual(value.spec.rules, [
    { backendRefs: [{ ...a, group: '', kind: 'Service', weight: 1 }] },
    { matches: [{ method: { type: 'Exact', service: 'a' } }] },
  ])
})

const good: Record<string, unknown> = {
  'everything the mesh knows': {
    parentRefs,
    hostnames: ['example.test'],
    useDefaultGateways: 'None',
    rules: [
      {
        name: 'canary',
        matches: [
          {
            method: { type: 'Exact', service: 'shop.v1.Orders', method: 'GetOrder' },
            headers: [{ name: 'X-A', value: 'b' }],
          },
          { method: { type: 'RegularExpression', service: '^shop\\..*$', method: '(?i)get.*' } },
          { headers: [{ type: 'RegularExpression', name: 'x-b', value: '[0-9]+' }] },
          {},
        ],
        filters: [
          { type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'x', value: 'y' }] } },
          { type: 'ResponseHeaderModifier', responseHeaderModifier: { remove: ['server'] } },
          { type: 'RequestMirror', requestMirror: { backendRef: a, percent: 10 } },
          { type: 'RequestMirror', requestMirror: { backendRef: a, fraction: { numerator: 1, denominator: 3 } } },
          { type: 'ExtensionRef', extensionRef: { group: 'outrigger.dev', kind: 'FaultInjection', name: 'slow' } },
        ],
        backendRefs: [
          { ...a, weight: 0 },
          { ...a, namespace: 'other', filters: [{ type: 'RequestMirror', requestMirror: { backendRef: a } }] },
        ],
      },
    ],
  },
  'a service alone, in capitals, with a dot in front (the CRD takes it)': method({ service: '.Shop.V1.ORDERS' }),
  'a method alone': method({ method: '_Get2' }),
  'an empty part of an expression is any': method({ type: 'RegularExpression', service: '', method: 'Get.*' }),
  'a Gateway parent (another controller has it), whatever it asks for': {
    parentRefs: [{ name: 'edge' }],
    rules: [{ sessionPersistence: { type: 'Header' } }],
  },
  'a Gateway parent and no rules': { parentRefs: [{ name: 'edge' }] },
  'no parent yet': {},
  "a backend and a filter of another implementation (the model's to judge)": rule({
    filters: [{ type: 'ExtensionRef', extensionRef: { group: 'acme.test', kind: 'RateLimit', name: 'a' } }],
    backendRefs: [{ group: 'acme.test', kind: 'Bucket', name: 'b' }],
  }),
}

describe('accepted', () => {
  for (const [name, spec] of Object.entries(good)) test(name, () => assert.deepEqual(faults(spec), []))
})

const matchPlace = 'spec.rules[0].matches[0].method'

const bad: Record<string, [spec: unknown, ...faults: string[]]> = {
  'no rule for a Service': [
    { parentRefs },
    'spec.rules: a GRPCRoute for a Service needs a rule; one with backendRefs alone takes every gRPC request',
  ],
  'Service without its group': [
    { parentRefs: [{ kind: 'Service', name: 'web' }] },
    'spec.parentRefs[0].group: a Service parent needs group: "" (without it Gateway API means its own group)',
  ],
  'neither service nor method': [method({}), `${matchPlace}: set service, method or both`],
  'both empty': [
    method({ type: 'RegularExpression', service: '', method: '' }),
    `${matchPlace}: set service, method or both`,
  ],
  'the path of the call as service': [
    method({ service: 'shop.v1.Orders/GetOrder' }),
    `${matchPlace}.service: "shop.v1.Orders/GetOrder" is not a service such as shop.v1.Orders; what follows the slash goes into method`,
  ],
  'the path of the call as method': [
    method({ method: '/shop.v1.Orders/GetOrder' }),
    `${matchPlace}.method: "/shop.v1.Orders/GetOrder" is not a method such as GetOrder; what stands before the slash goes into service`,
  ],
  'names that protobuf does not have': [
    method({ service: 'shop..Orders', method: '2Get' }),
    `${matchPlace}.service: "shop..Orders" is not a service such as shop.v1.Orders`,
    `${matchPlace}.method: "2Get" is not a method such as GetOrder`,
  ],
  'an exact part that is empty (the CRD refuses it)': [
    method({ service: '', method: 'Get' }),
    `${matchPlace}.service: "" is not a service such as shop.v1.Orders`,
  ],
  'a wildcard that is none': [
    method({ service: 'shop.v1.*' }),
    `${matchPlace}.service: "shop.v1.*" is not a service such as shop.v1.Orders`,
  ],
  'expressions that are none': [
    method({ type: 'RegularExpression', service: '(a', method: '(b)\\1' }),
    `${matchPlace}.service: regular expression refused: missing closing ): \`(a\` (RE2 syntax: no back-references, no look-around)`,
    `${matchPlace}.method: regular expression refused: invalid escape sequence: \`\\1\` (RE2 syntax: no back-references, no look-around)`,
  ],
  'expressions that are too costly together only': [
    method({ type: 'RegularExpression', service: 'a{600}', method: 'b{600}' }),
    `${matchPlace}: service and method together: regular expression too costly: 1204 instructions; at most 1000 (repeats such as {0,1000} make many)`,
  ],
  'a type that is of paths': [
    method({ type: 'PathPrefix', service: 'a' }),
    `${matchPlace}.type: "PathPrefix" is not known here`,
  ],
  "HTTPRoute's match": [
    rule({ matches: [{ path: { value: '/a' } }] }),
    'spec.rules[0].matches[0].path: unknown field "path"',
  ],
  "HTTPRoute's method": [
    rule({ matches: [{ method: 'POST' }] }),
    'spec.rules[0].matches[0].method: "POST" is a string',
  ],
  'header twice': [
    rule({
      matches: [
        {
          headers: [
            { name: 'A', value: '1' },
            { name: 'a', value: '2' },
          ],
        },
      ],
    }),
    'spec.rules[0].matches[0].headers[1].name: header "a" is matched twice; the second would never be read',
  ],
  'a filter that HTTPRoute has': [
    filter({ type: 'URLRewrite', urlRewrite: { hostname: 'a' } }),
    'spec.rules[0].filters[0].type: "URLRewrite" is not known here',
    'spec.rules[0].filters[0].urlRewrite: unknown field "urlRewrite"',
  ],
  'a filter that nobody has': [filter({ type: 'Retry' }), 'spec.rules[0].filters[0].type: "Retry" is not known here'],
  'filter without its field, with another': [
    filter({ type: 'RequestMirror', extensionRef: { group: 'outrigger.dev', kind: 'FaultInjection', name: 'a' } }),
    'spec.rules[0].filters[0]: type RequestMirror needs the field requestMirror',
    'spec.rules[0].filters[0].extensionRef: extensionRef does not belong to type RequestMirror',
  ],
  'filter twice, at a backend, too': [
    rule({
      filters: [1, 2].map(() => ({ type: 'RequestHeaderModifier', requestHeaderModifier: {} })),
      backendRefs: [
        { ...a, filters: [1, 2].map(() => ({ type: 'ResponseHeaderModifier', responseHeaderModifier: {} })) },
      ],
    }),
    'spec.rules[0].filters[1].type: filter RequestHeaderModifier may stand only once',
    'spec.rules[0].backendRefs[0].filters[1].type: filter ResponseHeaderModifier may stand only once',
  ],
  'framing header': [
    filter({ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'TE', value: 'x' }] } }),
    'spec.rules[0].filters[0].requestHeaderModifier.set[0].name: "TE" belongs to the connection, not to the message; a filter cannot change it',
  ],
  'a filter that acts before a backend is chosen': [
    rule({
      backendRefs: [
        {
          ...a,
          filters: [
            { type: 'ExtensionRef', extensionRef: { group: 'outrigger.dev', kind: 'FaultInjection', name: 'a' } },
          ],
        },
      ],
    }),
    'spec.rules[0].backendRefs[0].filters[0].type: ExtensionRef acts before a backend is chosen; put it in rules[].filters',
  ],
  'session persistence': [
    rule({ sessionPersistence: {} }),
    'spec.rules[0].sessionPersistence: sessionPersistence is not supported for a Service; use BackendPolicy loadBalancer.algorithm: ConsistentHash',
  ],
  'timeouts and retries, which BackendPolicy has': [
    rule({ timeouts: { request: '1s' }, retry: { attempts: 1 } }),
    'spec.rules[0].timeouts: unknown field "timeouts"',
    'spec.rules[0].retry: unknown field "retry"',
  ],
  'backend without port': [
    rule({ backendRefs: [{ name: 'a' }] }),
    'spec.rules[0].backendRefs[0].port: a Service needs its port',
  ],
  '17 rules': [{ parentRefs, rules: Array.from({ length: 17 }, () => ({})) }, 'spec.rules: 17 items; at most 16'],
  '65 matches in a rule': [
    rule({ matches: Array.from({ length: 65 }, () => ({})) }),
    'spec.rules[0].matches: 65 items; at most 64',
  ],
  '129 matches in all': [
    { parentRefs, rules: [50, 50, 29].map((length) => ({ matches: Array.from({ length }, () => ({})) })) },
    'spec.rules: 129 matches in all rules together; at most 128',
  ],
  'two rules of one name': [
    { parentRefs, rules: [{ name: 'a' }, { name: 'a' }] },
    'spec.rules[1].name: two rules are named "a"',
  ],
}

describe('refused', () => {
  for (const [name, [spec, ...expected]] of Object.entries(bad)) {
    test(name, () => assert.deepEqual(faults(spec).sort(), expected.sort()))
  }
})

test('who writes what HTTPRoute has is told where it goes', () => {
  const told = load(rule({ timeouts: {}, retry: {}, hedging: {} })).map(({ expected }) => expected)
  assert.deepEqual(told.sort(), [
    'one of name, matches, filters, backendRefs, sessionPersistence',
    'spec.retry of a BackendPolicy for the Service',
    'spec.timeouts of a BackendPolicy for the Service',
  ])
})

test('only v1 is served', () => {
  const [problem] = load(rule({}), 'gateway.networking.k8s.io/v1alpha2')
  assert.deepEqual([problem?.code, problem?.suggestion], ['unknown-api-version', 'gateway.networking.k8s.io/v1'])
})

test('expressions are compared with the whole of service and method, whatever they are anchored by', () => {
  const table: [service: string, method: string, path: string, holds: boolean][] = [
    ['shop', '', '/shop/Get', true],
    ['shop', '', '/shop2/Get', false],
    ['^shop$', '^Get$', '/shop/Get', true],
    ['(?i)^SHOP$', '', '/shop/Get', true],
    ['(?i)SHOP', 'GET', '/shop/Get', false],
    ['a|b', 'c|d', '/b/c', true],
    ['a|b', 'c|d', '/b/e', false],
    ['', '^Get|List$', '/a.b/List', true],
    ['', 'a\\$', '/s/a$', true],
    ['', 'a\\\\$', '/s/a\\', true],
    ['', 'Get', '/a/b/Get', false],
  ]
  for (const [service, name, path, holds] of table) {
    const expression = pathExpression({ service, method: name })
    assert.equal(RE2JS.compile(expression).matches(path), holds, `${service} ${name} ${path}: ${expression}`)
  }
})
