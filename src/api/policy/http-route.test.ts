import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadDocuments } from '../documents/load-documents.ts'
import { httpRoute } from './http-route.ts'

const parentRefs = [{ group: '', kind: 'Service', name: 'web', port: 80 }]
const a = { name: 'a', port: 80 }

function faults(spec: unknown): string[] {
  const text = JSON.stringify({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'r' },
    spec,
  })
  return loadDocuments([{ path: 'x', text }]).problems.map(({ path, message }) => `${path}: ${message}`)
}

const rule = (fields: object) => ({ parentRefs, rules: [fields] })
const path = (type: string, value: string) => rule({ matches: [{ path: { type, value } }] })
const filter = (...filters: object[]) => rule({ filters })
const prefixRewrite = {
  type: 'URLRewrite',
  urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/x' } },
}
const redirect = { type: 'RequestRedirect', requestRedirect: { scheme: 'https', statusCode: 301 } }

test('an empty rule is Gateway API: everything, no backend', () => {
  const value = httpRoute.parse({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'r' },
    spec: { parentRefs, rules: [{}] },
  })
  assert.deepEqual(value.spec.rules, [{ matches: [{ path: { type: 'PathPrefix', value: '/' } }] }])
})

const good: Record<string, unknown> = {
  'everything the mesh knows': {
    parentRefs,
    hostnames: ['example.test'],
    rules: [
      {
        name: 'canary',
        matches: [
          { path: { type: 'Exact', value: '/a%20b' }, method: 'PATCH', headers: [{ name: 'X-A', value: 'b' }] },
          { path: { value: '/' }, queryParams: [{ type: 'RegularExpression', name: 'q', value: '^(a+)+$' }] },
        ],
        filters: [
          {
            type: 'RequestHeaderModifier',
            requestHeaderModifier: { set: [{ name: 'x', value: 'y\tz' }], remove: ['b'] },
          },
          { type: 'ResponseHeaderModifier', responseHeaderModifier: { add: [{ name: 'x', value: 'é' }] } },
          {
            type: 'URLRewrite',
            urlRewrite: { hostname: 'b.test', path: { type: 'ReplaceFullPath', replaceFullPath: '/' } },
          },
          { type: 'RequestMirror', requestMirror: { backendRef: a, percent: 0 } },
          { type: 'RequestMirror', requestMirror: { backendRef: a, fraction: { numerator: 1, denominator: 3 } } },
          { type: 'ExtensionRef', extensionRef: { group: 'outrigger.dev', kind: 'FaultInjection', name: 'slow' } },
        ],
        backendRefs: [
          { ...a, weight: 0 },
          { ...a, namespace: 'other', filters: [{ type: 'RequestMirror', requestMirror: { backendRef: a } }] },
        ],
        timeouts: { request: '0s', backendRequest: '5s' },
        retry: { codes: [400, 599], attempts: 0, backoff: '10ms' },
      },
    ],
  },
  'prefix rewrite to nothing': filter({
    type: 'URLRewrite',
    urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '' } },
  }),
  'redirect alone': filter(redirect),
  'a Gateway parent (another controller has it)': { parentRefs: [{ name: 'edge' }] },
  'no parent yet': { rules: [{}] },
  'what only a Gateway has': {
    parentRefs: [{ name: 'edge' }],
    useDefaultGateways: 'All',
    rules: [
      {
        filters: [
          { type: 'CORS', cors: { allowOrigins: ['*'] } },
          { type: 'ExternalAuth', externalAuth: { protocol: 'GRPC', backendRef: a } },
          { type: 'ExtensionRef', extensionRef: { group: 'acme.test', kind: 'RateLimit', name: 'a' } },
        ],
        backendRefs: [{ group: 'multicluster.x-k8s.io', kind: 'ServiceImport', name: 'far' }],
        sessionPersistence: { type: 'Cookie', cookie: { name: 'c' } },
      },
    ],
  },
  "a backend and a filter of another implementation (the model's to judge)": rule({
    filters: [{ type: 'ExtensionRef', extensionRef: { group: 'acme.test', kind: 'RateLimit', name: 'a' } }],
    backendRefs: [{ group: 'acme.test', kind: 'Bucket', name: 'b' }],
  }),
}

describe('accepted', () => {
  for (const [name, spec] of Object.entries(good)) test(name, () => assert.deepEqual(faults(spec), []))
})

const bad: Record<string, [spec: unknown, ...faults: string[]]> = {
  'no rule': [{ rules: [] }, 'spec.rules: the list is empty'],
  'Service without its group': [
    { parentRefs: [{ kind: 'Service', name: 'web' }] },
    'spec.parentRefs[0].group: a Service parent needs group: "" (without it Gateway API means its own group)',
  ],
  'path without slash': [
    path('PathPrefix', 'api'),
    'spec.rules[0].matches[0].path.value: path "api" must begin with "/"',
  ],
  'path that leaves': [
    path('Exact', '/a/../b'),
    'spec.rules[0].matches[0].path.value: path "/a/../b" must not contain "/../"',
  ],
  'path with an encoded slash': [
    path('Exact', '/a%2Fb'),
    'spec.rules[0].matches[0].path.value: path "/a%2Fb" must not contain "%2F"',
  ],
  'path with a blank': [
    path('Exact', '/a b'),
    'spec.rules[0].matches[0].path.value: path "/a b" has a character that must be percent-encoded',
  ],
  'expression that is not closed': [
    path('RegularExpression', '(a'),
    'spec.rules[0].matches[0].path.value: regular expression refused: missing closing ): `(a` (RE2 syntax: no back-references, no look-around)',
  ],
  'back-reference': [
    rule({ matches: [{ headers: [{ name: 'a', type: 'RegularExpression', value: '(a)\\1' }] }] }),
    'spec.rules[0].matches[0].headers[0].value: regular expression refused: invalid escape sequence: `\\1` (RE2 syntax: no back-references, no look-around)',
  ],
  'expression of 1,025 characters': [
    rule({ matches: [{ headers: [{ name: 'a', type: 'RegularExpression', value: 'a'.repeat(1025) }] }] }),
    'spec.rules[0].matches[0].headers[0].value: regular expression of 1025 characters; at most 1024 are accepted',
  ],
  'expression that takes minutes to match': [
    rule({ matches: [{ headers: [{ name: 'a', type: 'RegularExpression', value: '\\p{L}{0,1000}'.repeat(2) }] }] }),
    'spec.rules[0].matches[0].headers[0].value: regular expression too costly: 4002 instructions; at most 1000 (repeats such as {0,1000} make many)',
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
  'method in lower case': [
    rule({ matches: [{ method: 'get' }] }),
    'spec.rules[0].matches[0].method: "get" is not known here',
  ],
  'line end in a header value': [
    filter({ type: 'RequestHeaderModifier', requestHeaderModifier: { add: [{ name: 'a', value: 'b\r\nc: d' }] } }),
    'spec.rules[0].filters[0].requestHeaderModifier.add[0].value: a header value cannot hold control characters',
  ],
  'framing header': [
    filter({ type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['Content-Length', 'HOST'] } }),
    'spec.rules[0].filters[0].requestHeaderModifier.remove[0]: "Content-Length" belongs to the connection, not to the message; a filter cannot change it',
    'spec.rules[0].filters[0].requestHeaderModifier.remove[1]: host is not changed by a header filter; use URLRewrite with hostname',
  ],
  'filter without its field, with another': [
    filter({ type: 'RequestMirror', urlRewrite: { hostname: 'a' } }),
    'spec.rules[0].filters[0]: type RequestMirror needs the field requestMirror',
    'spec.rules[0].filters[0].urlRewrite: urlRewrite does not belong to type RequestMirror',
  ],
  'filter twice': [
    filter(
      { type: 'URLRewrite', urlRewrite: { hostname: 'a' } },
      { type: 'URLRewrite', urlRewrite: { hostname: 'b' } },
    ),
    'spec.rules[0].filters[1].type: filter URLRewrite may stand only once',
  ],
  'empty rewrite': [
    filter({ type: 'URLRewrite', urlRewrite: {} }),
    'spec.rules[0].filters[0].urlRewrite: set hostname, path or both',
  ],
  'CORS without its settings': [filter({ type: 'CORS' }), 'spec.rules[0].filters[0]: type CORS needs the field cors'],
  'what a Service does not get, beside a Gateway, too': [
    {
      parentRefs: [{ name: 'edge' }, ...parentRefs],
      rules: [
        { filters: [{ type: 'CORS', cors: {} }] },
        { backendRefs: [{ ...a, filters: [{ type: 'ExternalAuth', externalAuth: {} }] }] },
      ],
    },
    'spec.rules[0].filters[0].type: filter CORS is not supported for a Service',
    'spec.rules[1].backendRefs[0].filters[0].type: filter ExternalAuth is not supported for a Service',
  ],
  'session persistence': [
    rule({ sessionPersistence: {} }),
    'spec.rules[0].sessionPersistence: sessionPersistence is not supported for a Service; use BackendPolicy loadBalancer.algorithm: ConsistentHash',
  ],
  'a kind that is none': [
    rule({ backendRefs: [{ ...a, group: 'A_b', kind: '*' }] }),
    'spec.rules[0].backendRefs[0].group: "A_b" is not an API group',
    'spec.rules[0].backendRefs[0].kind: "*" is not a kind',
  ],
  'redirect with backends': [
    rule({ filters: [redirect], backendRefs: [a] }),
    'spec.rules[0].backendRefs: a rule with RequestRedirect answers by itself and cannot have backendRefs',
  ],
  'redirect with rewrite': [
    filter({ type: 'URLRewrite', urlRewrite: { hostname: 'a' } }, redirect),
    'spec.rules[0].filters[1].type: RequestRedirect and URLRewrite cannot stand in the same rule',
  ],
  'redirect with a status that is none': [
    filter({ type: 'RequestRedirect', requestRedirect: { statusCode: 304 } }),
    'spec.rules[0].filters[0].requestRedirect.statusCode: 304 is not known here',
  ],
  'redirect at a backend': [
    rule({ backendRefs: [{ ...a, filters: [redirect] }] }),
    'spec.rules[0].backendRefs[0].filters[0].type: RequestRedirect acts before a backend is chosen; put it in rules[].filters',
  ],
  'prefix rewrite of an exact path': [
    rule({ matches: [{ path: { type: 'Exact', value: '/a' } }], filters: [prefixRewrite] }),
    'spec.rules[0].filters[0].urlRewrite.path.type: ReplacePrefixMatch needs exactly one match in its rule, of type PathPrefix',
  ],
  'percent and fraction': [
    filter({ type: 'RequestMirror', requestMirror: { backendRef: a, percent: 1, fraction: { numerator: 1 } } }),
    'spec.rules[0].filters[0].requestMirror: set percent or fraction, not both',
  ],
  'fraction above one': [
    filter({ type: 'RequestMirror', requestMirror: { backendRef: a, fraction: { numerator: 2, denominator: 1 } } }),
    'spec.rules[0].filters[0].requestMirror.fraction: numerator must not be larger than denominator',
  ],
  'try longer than the request': [
    rule({ timeouts: { request: '1s', backendRequest: '1001ms' } }),
    'spec.rules[0].timeouts.backendRequest: backendRequest (1001ms) must not be longer than request (1s)',
  ],
  'duration without unit, or too long': [
    rule({ timeouts: { request: '10', backendRequest: '2000h' } }),
    'spec.rules[0].timeouts.request: "10" has no unit',
    'spec.rules[0].timeouts.backendRequest: "2000h" is longer than the longest duration, 1193h',
  ],
  'retried success': [rule({ retry: { codes: [200] } }), 'spec.rules[0].retry.codes[0]: 200 is too small'],
  'backend without port': [
    rule({ backendRefs: [{ name: 'a' }] }),
    'spec.rules[0].backendRefs[0].port: a Service needs its port',
  ],
  'mirror without port': [
    filter({ type: 'RequestMirror', requestMirror: { backendRef: { name: 'a', group: 'core' } } }),
    'spec.rules[0].filters[0].requestMirror.backendRef.port: a Service needs its port',
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

test('a rule over fields is told although another field is unknown, and not when its own fields are wrong', () => {
  const timeouts = { request: '1s', backendRequest: '2s', idle: '1s' }
  assert.deepEqual(
    faults(rule({ timeouts })).map((fault) => fault.split(':')[0]),
    ['spec.rules[0].timeouts.backendRequest', 'spec.rules[0].timeouts.idle'],
  )
  assert.deepEqual(faults(rule({ timeouts: { request: '1', backendRequest: '2s' } })), [
    'spec.rules[0].timeouts.request: "1" has no unit',
  ])
})

test('what is not supported has a code of its own', () => {
  const text = JSON.stringify({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'r' },
    spec: filter({ type: 'ExternalAuth', externalAuth: {} }),
  })
  const codes = loadDocuments([{ path: 'x', text }]).problems.map(({ code }) => code)
  assert.deepEqual(codes, ['not-supported'])
})
