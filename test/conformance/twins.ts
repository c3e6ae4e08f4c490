/**
 * A sharper twin of every test of the suite: the same question, asked a hundred times over connections of their own, and
 * every answer must fit, from the first on. Where the suite does not look (the path that arrives, the Location of a
 * redirect), the twin does.
 */
import { aboutShare, expecting } from './expectation.ts'
import { grpcTwins } from './grpc-twins.ts'
import { at, backend, modifier, parent, setHeader, type Twin, type TwinCall, type TwinRoute, tells } from './twin.ts'

const path = (type: 'Exact' | 'PathPrefix', value: string) => ({ path: { type, value } })
const ofEcho = (...rules: object[]): TwinRoute => ({ spec: { parentRefs: [parent('echo', 80)], rules } })
const to = (version: 'v1' | 'v2', ...matches: object[]) => ({
  ...(matches.length === 0 ? {} : { matches }),
  backendRefs: [backend(version)],
})
/** A rule that redirects what is under `prefix`. */
const redirecting = (prefix: string, requestRedirect: object) => ({
  matches: [path('PathPrefix', prefix)],
  filters: [{ type: 'RequestRedirect', requestRedirect }],
})
const replacePrefix = (value: string) => ({ path: { type: 'ReplacePrefixMatch', replacePrefixMatch: value } })
const replaceFull = (value: string) => ({ path: { type: 'ReplaceFullPath', replaceFullPath: value } })

const redirected = (target: string, status: number, location: string): TwinCall =>
  at(target, { status, location }, { ...tells, count: 20 })

const codes = ([303, 307, 308] as const).map(
  (status): Twin => ({
    of: `MeshHTTPRoute${status}Redirect`,
    routes: [ofEcho(redirecting('/old', { statusCode: status }))],
    calls: [redirected('/old/a?b=c', status, 'http://echo/old/a?b=c')],
  }),
)

const modified = at(
  '/modified',
  {
    version: 'v2',
    request: {
      'x-header-set': 'set',
      'x-header-add': 'mine,added',
      'x-header-new': 'new',
      'x-header-remove': '',
      'x-header-other': 'stays',
    },
  },
  {
    ...tells,
    headers: { 'x-header-set': 'mine', 'X-Header-Add': 'mine', 'x-header-remove': 'mine', 'X-Header-Other': 'stays' },
  },
)

export const twins: readonly Twin[] = [
  ...grpcTwins,
  {
    of: 'MeshBasic',
    routes: [],
    calls: [
      at(
        '/',
        {},
        {
          ...tells,
          // Only a sidecar makes a trace of a request that has none.
          wrong: (answer) =>
            expecting({})(answer) ?? (answer.requestHeaders['traceparent'] ? undefined : 'no traceparent'),
          wrongInAll: (answers) => (new Set(answers.map(({ pod }) => pod)).size === 2 ? undefined : 'one pod got all'),
        },
      ),
    ],
  },
  {
    of: 'MeshHTTPRouteSimpleSameNamespace',
    routes: [ofEcho(to('v1'))],
    calls: [at('/', { version: 'v1' }, tells)],
  },
  {
    of: 'MeshHTTPRouteMatching',
    routes: [
      ofEcho(
        to('v1', path('PathPrefix', '/'), { headers: [{ name: 'version', value: 'one' }] }),
        to('v2', path('PathPrefix', '/v2'), { headers: [{ name: 'version', value: 'two' }] }),
      ),
    ],
    calls: [
      at('/', { version: 'v1' }, tells),
      at('/example', { version: 'v1' }),
      at('/', { version: 'v1' }, { headers: { Version: 'one' } }),
      at('/v2', { version: 'v2' }, tells),
      at('/v2/example', { version: 'v2' }),
      at('/', { version: 'v2' }, { ...tells, headers: { Version: 'two' } }),
      at('/v2/', { version: 'v2' }),
      at('/v2example', { version: 'v1' }),
      at('/foo/v2/example', { version: 'v1' }),
    ],
  },
  {
    of: 'MeshTrafficSplit',
    routes: [
      {
        spec: { parentRefs: [parent('echo')], rules: [to('v1', path('Exact', '/v1')), to('v2', path('Exact', '/v2'))] },
      },
    ],
    calls: [
      at('/v1', { version: 'v1' }, tells),
      at('/v2', { version: 'v2' }, tells),
      at('/v1/', { status: 404 }, { ...tells, count: 20 }),
    ],
  },
  {
    of: 'MeshHTTPRouteWeight',
    routes: [ofEcho({ backendRefs: [backend('v1', { weight: 70 }), backend('v2', { weight: 30 })] })],
    calls: [
      // Over one connection, too: a request is shared out, not a connection. The suite allows ten tries; this is one.
      at('/', {}, { ...tells, count: 1_000, keepAlive: true, wrongInAll: aboutShare('v1', 0.7) }),
      at('/', {}, { ...tells, count: 1_000, wrongInAll: aboutShare('v1', 0.7) }),
    ],
  },
  {
    of: 'MeshHTTPRouteNamedRule',
    routes: [
      ofEcho({ name: 'named', ...to('v1', path('PathPrefix', '/named')) }, to('v2', path('PathPrefix', '/unnamed'))),
    ],
    calls: [
      at('/named', { version: 'v1', target: '/named' }, tells),
      at('/unnamed', { version: 'v2', target: '/unnamed' }, tells),
      at('/none', { status: 404 }, { ...tells, count: 20 }),
    ],
  },
  {
    of: 'MeshHTTPRouteQueryParamMatching',
    routes: [
      ofEcho(
        to('v1', query('animal', 'whale')),
        to('v2', query('animal', 'dolphin')),
        to('v1', { ...path('PathPrefix', '/path1'), ...query('animal', 'whale') }),
        to('v2', { ...query('animal', 'whale'), headers: [{ name: 'version', value: 'one' }] }),
        to('v1', path('PathPrefix', '/path5')),
        to('v2', query('animal', 'hydra')),
      ),
    ],
    calls: [
      at('/?animal=whale', { version: 'v1' }, tells),
      at('/?other=x&animal=dolphin', { version: 'v2' }, tells),
      at('/path1?animal=whale', { version: 'v1' }),
      at('/?animal=whale', { version: 'v2' }, { ...tells, headers: { version: 'one' } }),
      at('/path5?animal=hydra', { version: 'v1' }),
      at('/?animal=whaledolphin', { status: 404 }, { ...tells, count: 20 }),
      at('/', { status: 404 }, { ...tells, count: 20 }),
    ],
  },
  {
    of: 'MeshHTTPRouteRewritePath',
    routes: [
      ofEcho(
        rewriting('/prefix/one', replacePrefix('/one')),
        rewriting('/strip-prefix', replacePrefix('/')),
        rewriting('/full', replaceFull('/one')),
      ),
    ],
    calls: [
      at('/prefix/one/two?a=b', { version: 'v2', target: '/one/two?a=b' }, tells),
      at('/strip-prefix/three', { version: 'v2', target: '/three' }, tells),
      at('/strip-prefix', { version: 'v2', target: '/' }, tells),
      at('/full/one/two?a=b', { version: 'v2', target: '/one?a=b' }, tells),
    ],
  },
  {
    of: 'MeshHTTPRouteRedirectHostAndStatus',
    routes: [
      ofEcho(
        redirecting('/host', { hostname: 'example.org' }),
        redirecting('/host-and-status', { hostname: 'example.org', statusCode: 301 }),
      ),
    ],
    calls: [
      redirected('/host', 302, 'http://example.org/host'),
      redirected('/host-and-status', 301, 'http://example.org/host-and-status'),
    ],
  },
  {
    of: 'MeshHTTPRouteRedirectPath',
    routes: [
      ofEcho(
        redirecting('/old', replacePrefix('/new')),
        redirecting('/full', replaceFull('/whole')),
        redirecting('/old-and-host', { hostname: 'example.org', ...replacePrefix('/new') }),
      ),
    ],
    calls: [
      redirected('/old/lemon?a=b', 302, 'http://echo/new/lemon?a=b'),
      redirected('/full/path/original', 302, 'http://echo/whole'),
      redirected('/old-and-host', 302, 'http://example.org/new'),
    ],
  },
  {
    of: 'MeshHTTPRouteRedirectPort',
    routes: [
      ofEcho(
        redirecting('/port', { port: 8083 }),
        redirecting('/port-and-host', { port: 8083, hostname: 'example.org', statusCode: 301 }),
      ),
    ],
    calls: [
      redirected('/port', 302, 'http://echo:8083/port'),
      redirected('/port-and-host', 301, 'http://example.org:8083/port-and-host'),
    ],
  },
  {
    of: 'MeshHTTPRouteSchemeRedirect',
    routes: [
      ofEcho(
        redirecting('/scheme', { scheme: 'https' }),
        redirecting('/scheme-and-host', { scheme: 'https', hostname: 'example.org', statusCode: 301 }),
      ),
    ],
    calls: [
      redirected('/scheme', 302, 'https://echo/scheme'),
      redirected('/scheme-and-host', 301, 'https://example.org/scheme-and-host'),
    ],
  },
  ...codes,
  {
    of: 'MeshHTTPRouteRequestHeaderModifier',
    routes: [ofEcho({ filters: [modifier], backendRefs: [backend('v2')] })],
    calls: [modified],
  },
  {
    of: 'MeshHTTPRouteBackendRequestHeaderModifier',
    routes: [ofEcho({ backendRefs: [backend('v2', { filters: [modifier] })] })],
    calls: [modified],
  },
  {
    of: 'MeshConsumerRoute',
    routes: [
      {
        in: 'consumer',
        spec: {
          parentRefs: [{ ...parent('echo-v1'), namespace: '{NS}' }],
          rules: [{ filters: [setHeader('consumer')], backendRefs: [backend('v1', { namespace: '{NS}' })] }],
        },
      },
    ],
    calls: [
      {
        url: 'http://echo-v1.{NS}/',
        from: 'consumer',
        wrong: expecting({ version: 'v1', headers: { 'x-header-set': 'consumer' } }),
        ...tells,
      },
      { url: 'http://echo-v1.{NS}/', wrong: expecting({ version: 'v1', headers: { 'x-header-set': '' } }) },
    ],
  },
  {
    of: 'MeshFrontend',
    routes: [
      {
        spec: {
          parentRefs: [parent('echo-v2')],
          rules: [{ filters: [setHeader('v2')], backendRefs: [backend('v2')] }],
        },
      },
    ],
    calls: [
      { url: 'http://echo-v2/', wrong: expecting({ version: 'v2', headers: { 'x-header-set': 'v2' } }), ...tells },
      { url: 'http://{POD_V2}:8080/', wrong: expecting({ version: 'v2', headers: { 'x-header-set': '' } }) },
    ],
  },
  {
    // The address that was called decides, whatever Host says: also the name of another Service, or of none.
    of: 'MeshFrontendHostname',
    routes: [
      {
        spec: {
          parentRefs: [parent('echo-v2')],
          rules: [{ filters: [setHeader('v2')], backendRefs: [backend('v2')] }],
        },
      },
    ],
    calls: [
      ...['echo-v1', 'echo-v1.default.svc.cluster.local:80', 'example.org', 'echo-v2:8080'].map(
        (host): TwinCall => ({
          url: 'http://echo-v2/',
          headers: { Host: host },
          wrong: (answer) =>
            expecting({ version: 'v2', headers: { 'x-header-set': 'v2' } })(answer) ??
            (answer.host === host ? undefined : `the application saw Host ${answer.host}`),
          count: 20,
          ...tells,
        }),
      ),
      {
        url: 'http://echo-v1/',
        headers: { Host: 'echo-v2' },
        wrong: expecting({ version: 'v1', headers: { 'x-header-set': '' } }),
      },
      {
        url: 'http://{POD_V2}:8080/',
        headers: { Host: 'echo-v2' },
        wrong: expecting({ version: 'v2', headers: { 'x-header-set': '' } }),
      },
    ],
  },
  {
    of: 'MeshPorts',
    routes: [
      {
        spec: {
          parentRefs: [parent('echo-v1', 80)],
          rules: [{ filters: [setHeader('v1')], backendRefs: [backend('v1')] }],
        },
      },
      {
        spec: {
          parentRefs: [parent('echo-v2')],
          rules: [{ filters: [setHeader('v2')], backendRefs: [backend('v2')] }],
        },
      },
    ],
    calls: [
      { url: 'http://echo-v1/', wrong: expecting({ version: 'v1', headers: { 'x-header-set': 'v1' } }), ...tells },
      { url: 'http://echo-v1:8080/', wrong: expecting({ version: 'v1', headers: { 'x-header-set': '' } }) },
      { url: 'http://echo-v2/', wrong: expecting({ version: 'v2', headers: { 'x-header-set': 'v2' } }) },
      { url: 'http://echo-v2:8080/', wrong: expecting({ version: 'v2', headers: { 'x-header-set': 'v2' } }), ...tells },
    ],
  },
]

function query(name: string, value: string): { queryParams: object[] } {
  return { queryParams: [{ name, value }] }
}

function rewriting(prefix: string, urlRewrite: object): object {
  return {
    matches: [path('PathPrefix', prefix)],
    filters: [{ type: 'URLRewrite', urlRewrite }],
    backendRefs: [backend('v2')],
  }
}
