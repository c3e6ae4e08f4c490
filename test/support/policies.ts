/** Policies that are in order and policies that are not: what a file and the API server must decide alike. */

const service = [{ kind: 'Service', name: 'web' }]
const web = { matchLabels: { app: 'web' } }
const policy = (fields: object) => ({ targetRefs: service, ...fields })
const fault = (fields: object) => ({ targetRefs: service, ...fields })
const rules = (...list: object[]) => ({ rules: list })
const from = (source: object) => rules({ from: [source] })
const to = (operation: object) => rules({ to: [operation] })

/** By kind: a name, and a spec that is accepted. */
export const goodPolicies: readonly (readonly [kind: string, name: string, spec: unknown])[] = [
  ['BackendPolicy', 'nothing but a target', policy({})],
  [
    'BackendPolicy',
    'everything',
    policy({
      mode: 'Shadow',
      targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
      loadBalancer: { algorithm: 'ConsistentHash', hash: { sourceIP: true } },
      connectionPool: {
        connectionsMax: 1,
        pendingRequestsMax: 2,
        requestsMax: 3,
        requestsPerConnectionMax: 4,
        connectTimeout: '1s',
        idleTimeout: '1m',
      },
      circuitBreaker: [
        { scope: 'Service' },
        { scope: 'Endpoint', errorThresholdPercentage: 1, volumeThreshold: 1, rollingWindow: '1s', resetTimeout: '1s' },
      ],
      outlierDetection: { consecutive5xxErrors: 1, interval: '1s', baseEjectionTime: '1s', maxEjectionPercent: 100 },
      retry: {
        attempts: 0,
        retryOn: ['5xx', 'reset', 'breaker-open', 'unavailable', 'internal', 'cancelled', 'deadline-exceeded'],
        codes: [429],
        methods: ['GET', 'POST', 'PURGE'],
        perTryTimeout: '0s',
        backoff: { base: '1ms', max: '1s' },
        maxBodyBytes: 0,
      },
      retryConstraint: { budget: { percent: 100, interval: '1s' }, minRetryRate: { count: 0, interval: '1s' } },
      hedging: { delay: '1ms', maxAttempts: 5, methods: ['GET', 'POST'] },
    }),
  ],
  ['FaultInjection', 'used by an ExtensionRef only', { abort: { reset: true } }],
  ['FaultInjection', 'gRPC calls alone', { abort: { grpcStatus: 'UNAVAILABLE' } }],
  ['FaultInjection', 'gRPC calls and others', { abort: { httpStatus: 503, grpcStatus: 'RESOURCE_EXHAUSTED' } }],
  [
    'FaultInjection',
    'a rule of a route, until',
    {
      targetRefs: [{ kind: 'HTTPRoute', name: 'r', sectionName: 'a' }],
      delay: { percentage: 0.5, fixed: '1s' },
      expiresAt: '2030-01-31T12:00:00+01:00',
    },
  ],
  [
    'FaultInjection',
    'inbound',
    {
      selector: web,
      match: [{ method: 'GET' }],
      delay: { range: { min: '0s', max: '1s' } },
      abort: { httpStatus: 599, percentage: 100 },
    },
  ],
  ['PeerAuthentication', 'a namespace', { mtls: { mode: 'STRICT' } }],
  ['PeerAuthentication', 'ports', { selector: web, portLevelMtls: { 65535: { mode: 'DISABLE' } } }],
  [
    'PeerAuthentication',
    'load balancers',
    { selector: web, proxyProtocol: [{ ports: [80, 443], from: ['10.0.0.0/8', '192.0.2.7', 'fd00::/8'] }] },
  ],
  ['AuthorizationPolicy', 'nothing allowed', {}],
  ['AuthorizationPolicy', 'everything allowed', rules({})],
  [
    'AuthorizationPolicy',
    'all fields',
    {
      targetRefs: service,
      action: 'DENY',
      rules: [
        {
          from: [
            {
              principals: ['spiffe://cluster.local/ns/shop/sa/web', 'spiffe://cluster.local/ns/*', '*/sa/web', '*'],
              notPrincipals: ['*'],
            },
            {
              namespaces: ['shop', 'team-*'],
              notNamespaces: ['x'],
              ipBlocks: ['10.0.0.0/8', '::1', 'fd00::/128'],
              notIpBlocks: ['1.2.3.4'],
            },
          ],
          to: [
            {
              methods: ['GET'],
              notMethods: ['PUT'],
              paths: ['/a', '/a/*', '*.png', '*'],
              notPaths: ['/b'],
              ports: [1],
              notPorts: [65535],
              hosts: ['a.test:80', '*.b'],
              notHosts: ['c'],
            },
          ],
        },
      ],
    },
  ],
  ['TelemetryPolicy', 'both', { selector: web, tracing: { samplingRate: 0.01 }, accessLog: 'Json' }],
]

/** By kind: a spec that is refused, and every `PATH: MESSAGE` that it is refused with. */
export const brokenPolicies: readonly (readonly [kind: string, spec: unknown, ...faults: string[]])[] = [
  ['BackendPolicy', {}, 'spec.targetRefs: missing field "targetRefs"'],
  ['BackendPolicy', { targetRefs: [] }, 'spec.targetRefs: the list is empty'],
  [
    'BackendPolicy',
    { targetRefs: [{ kind: 'HTTPRoute', name: 'r' }] },
    'spec.targetRefs[0].kind: "HTTPRoute" is not known here',
  ],
  [
    'BackendPolicy',
    { targetRefs: [{ group: 'apps', kind: 'Service', name: 'r' }] },
    'spec.targetRefs[0].group: Service is in group "", not "apps"',
  ],
  [
    'BackendPolicy',
    { targetRefs: [{ kind: 'Service', name: 'Web' }] },
    'spec.targetRefs[0].name: "Web" is not a name: lower-case letters, digits, "-" and "."',
  ],
  [
    'BackendPolicy',
    { targetRefs: [{ kind: 'Service', name: 'web', sectionName: 'a' }] },
    'spec.targetRefs[0].sectionName: sectionName is for HTTPRoute targets; a Service is targeted whole',
  ],
  ['BackendPolicy', policy({ mode: 'Audit' }), 'spec.mode: "Audit" is not known here'],
  [
    'BackendPolicy',
    policy({ loadBalancer: { algorithm: 'ConsistentHash' } }),
    'spec.loadBalancer: algorithm ConsistentHash needs hash',
  ],
  [
    'BackendPolicy',
    policy({ loadBalancer: { hash: { header: 'a' } } }),
    'spec.loadBalancer.hash: hash does not belong to algorithm LeastRequest',
  ],
  [
    'BackendPolicy',
    policy({ loadBalancer: { algorithm: 'ConsistentHash', hash: { header: 'a', cookie: 'b' } } }),
    'spec.loadBalancer.hash: set exactly one of header, cookie, sourceIP',
  ],
  [
    'BackendPolicy',
    policy({ loadBalancer: { algorithm: 'ConsistentHash', hash: {} } }),
    'spec.loadBalancer.hash: set exactly one of header, cookie, sourceIP',
  ],
  [
    'BackendPolicy',
    policy({ connectionPool: { connectionsMax: 0, connectTimeout: '0s' } }),
    'spec.connectionPool.connectionsMax: 0 is too small',
    'spec.connectionPool.connectTimeout: must be longer than zero',
  ],
  [
    'BackendPolicy',
    policy({ connectionPool: { maxConnections: 1 } }),
    'spec.connectionPool.maxConnections: unknown field "maxConnections"',
  ],
  ['BackendPolicy', policy({ circuitBreaker: {} }), 'spec.circuitBreaker: a map stands here'],
  [
    'BackendPolicy',
    policy({ circuitBreaker: [{}, {}] }),
    'spec.circuitBreaker[1].scope: two breakers of scope Endpoint; one for each scope',
  ],
  [
    'BackendPolicy',
    policy({ circuitBreaker: [{ errorThresholdPercentage: 0.5 }] }),
    'spec.circuitBreaker[0].errorThresholdPercentage: 0.5 is not a whole number',
  ],
  ['BackendPolicy', policy({ retry: { retryOn: ['5XX'] } }), 'spec.retry.retryOn[0]: "5XX" is not known here'],
  ['BackendPolicy', policy({ retry: { retryOn: [] } }), 'spec.retry.retryOn: the list is empty'],
  [
    'BackendPolicy',
    policy({ retry: { retryOn: ['unavailable', 'internal'], methods: ['GET', 'PUT'] } }),
    'spec.retry.retryOn[1]: internal may come after the work was done: add POST to methods if calls may be repeated then',
  ],
  [
    'BackendPolicy',
    policy({ retry: { retryOn: ['cancelled'] } }),
    'spec.retry.retryOn[0]: cancelled may come after the work was done: add POST to methods if calls may be repeated then',
  ],
  ['BackendPolicy', policy({ retry: { methods: ['GET /'] } }), 'spec.retry.methods[0]: not a method (RFC 9110 token)'],
  [
    'BackendPolicy',
    policy({ retry: { backoff: { base: '1s', max: '25ms' } } }),
    'spec.retry.backoff.max: max (25ms) must not be shorter than base (1s)',
  ],
  ['BackendPolicy', policy({ retry: { maxBodyBytes: 1_048_577 } }), 'spec.retry.maxBodyBytes: 1048577 is too large'],
  ['BackendPolicy', policy({ hedging: {} }), 'spec.hedging.delay: missing field "delay"'],
  ['BackendPolicy', policy({ hedging: { delay: '0s' } }), 'spec.hedging.delay: must be longer than zero'],
  ['BackendPolicy', policy({ hedging: { delay: '1s', maxAttempts: 1 } }), 'spec.hedging.maxAttempts: 1 is too small'],
  ['BackendPolicy', policy({ hedging: { delay: '1s', maxAttempts: 6 } }), 'spec.hedging.maxAttempts: 6 is too large'],
  ['BackendPolicy', policy({ hedging: { delay: '1s', methods: [] } }), 'spec.hedging.methods: the list is empty'],
  [
    'BackendPolicy',
    policy({ hedging: { delay: '1s', attempts: 2 } }),
    'spec.hedging.attempts: unknown field "attempts"',
  ],
  ['FaultInjection', fault({}), 'spec: set delay, abort or both'],
  ['FaultInjection', fault({ delay: {} }), 'spec.delay: set exactly one of fixed, range'],
  [
    'FaultInjection',
    fault({ delay: { fixed: '1s', range: { min: '1s', max: '2s' } } }),
    'spec.delay: set exactly one of fixed, range',
  ],
  [
    'FaultInjection',
    fault({ delay: { range: { min: '2s', max: '1s' } } }),
    'spec.delay.range.min: min (2s) must not be longer than max (1s)',
  ],
  ['FaultInjection', fault({ delay: { fixed: '1s', percentage: 101 } }), 'spec.delay.percentage: 101 is too large'],
  [
    'FaultInjection',
    fault({ abort: { httpStatus: 503, reset: true } }),
    'spec.abort: set reset, or httpStatus, grpcStatus or both of these',
  ],
  [
    'FaultInjection',
    fault({ abort: { grpcStatus: 'UNAVAILABLE', reset: true } }),
    'spec.abort: set reset, or httpStatus, grpcStatus or both of these',
  ],
  ['FaultInjection', fault({ abort: {} }), 'spec.abort: set reset, or httpStatus, grpcStatus or both of these'],
  ['FaultInjection', fault({ abort: { grpcStatus: 'OK' } }), 'spec.abort.grpcStatus: "OK" is not known here'],
  ['FaultInjection', fault({ abort: { grpcStatus: 14 } }), 'spec.abort.grpcStatus: 14 is a number'],
  ['FaultInjection', fault({ abort: { reset: false } }), 'spec.abort.reset: false is not known here'],
  ['FaultInjection', fault({ abort: { httpStatus: 100 } }), 'spec.abort.httpStatus: 100 is too small'],
  [
    'FaultInjection',
    fault({ selector: web, abort: { reset: true } }),
    'spec.selector: set targetRefs (outbound) or selector (inbound), not both',
  ],
  [
    'FaultInjection',
    fault({ abort: { reset: true }, expiresAt: 'tomorrow' }),
    'spec.expiresAt: "tomorrow" is not an RFC 3339 time',
  ],
  [
    'FaultInjection',
    fault({ abort: { reset: true }, match: [{ path: { type: 'Exact', value: 'x' } }] }),
    'spec.match[0].path.value: path "x" must begin with "/"',
  ],
  ['PeerAuthentication', {}, 'spec: set mtls, portLevelMtls or proxyProtocol'],
  ['PeerAuthentication', { mtls: { mode: 'Strict' } }, 'spec.mtls.mode: "Strict" is not known here'],
  [
    'PeerAuthentication',
    { portLevelMtls: { 80: { mode: 'STRICT' } } },
    'spec.portLevelMtls: portLevelMtls needs a selector: ports belong to a workload',
  ],
  [
    'PeerAuthentication',
    { selector: web, portLevelMtls: { 65536: { mode: 'STRICT' } } },
    'spec.portLevelMtls["65536"]: a key of portLevelMtls is a port from 1 to 65535',
  ],
  [
    'PeerAuthentication',
    { selector: { matchLabels: {} }, mtls: { mode: 'STRICT' } },
    'spec.selector.matchLabels: matchLabels is empty; leave out selector to mean every workload of the namespace',
  ],
  [
    'PeerAuthentication',
    { proxyProtocol: [{ ports: [80], from: ['10.0.0.1'] }] },
    'spec.proxyProtocol: proxyProtocol needs a selector: ports belong to a workload',
  ],
  [
    'PeerAuthentication',
    { selector: web, proxyProtocol: [{ ports: [80], from: ['balancer'] }] },
    'spec.proxyProtocol[0].from[0]: "balancer" is not an address or block such as 10.0.0.0/8, 192.0.2.7 or fd00::/8',
  ],
  ['AuthorizationPolicy', { action: 'AUDIT' }, 'spec.action: "AUDIT" is not known here'],
  [
    'AuthorizationPolicy',
    { selector: web, targetRefs: service },
    'spec.selector: set targetRefs or selector, not both',
  ],
  [
    'AuthorizationPolicy',
    from({}),
    'spec.rules[0].from[0]: an empty entry of from would match every caller; leave out from to mean that',
  ],
  [
    'AuthorizationPolicy',
    to({}),
    'spec.rules[0].to[0]: an empty entry of to would match every request; leave out to to mean that',
  ],
  ['AuthorizationPolicy', rules({ from: [] }), 'spec.rules[0].from: the list is empty'],
  ['AuthorizationPolicy', from({ principals: [] }), 'spec.rules[0].from[0].principals: the list is empty'],
  [
    'AuthorizationPolicy',
    from({ principals: ['cluster.local/ns/a/sa/b'] }),
    'spec.rules[0].from[0].principals[0]: "cluster.local/ns/a/sa/b" is not a SPIFFE id such as spiffe://cluster.local/ns/shop/sa/web, "*" allowed at the end or the beginning',
  ],
  [
    'AuthorizationPolicy',
    from({ principals: ['spiffe://a/*/b'] }),
    'spec.rules[0].from[0].principals[0]: "spiffe://a/*/b": "*" stands at the end or at the beginning, once',
  ],
  [
    'AuthorizationPolicy',
    from({ ipBlocks: ['10.0.0.0/33'] }),
    'spec.rules[0].from[0].ipBlocks[0]: "10.0.0.0/33" is not an address or block such as 10.0.0.0/8, 192.0.2.7 or fd00::/8',
  ],
  [
    'AuthorizationPolicy',
    from({ source: {} }),
    'spec.rules[0].from[0].source: unknown field "source"',
    'spec.rules[0].from[0]: an empty entry of from would match every caller; leave out from to mean that',
  ],
  [
    'AuthorizationPolicy',
    to({ methods: ['get'] }),
    'spec.rules[0].to[0].methods[0]: "get" is not a method: upper case, such as GET (methods are case-sensitive)',
  ],
  [
    'AuthorizationPolicy',
    to({ paths: ['admin'] }),
    'spec.rules[0].to[0].paths[0]: "admin" is not a path: it begins with "/", or with "*"',
  ],
  [
    'AuthorizationPolicy',
    to({ paths: ['*a*'] }),
    'spec.rules[0].to[0].paths[0]: "*a*": "*" stands at the end or at the beginning, once',
  ],
  ['AuthorizationPolicy', to({ ports: ['80'] }), 'spec.rules[0].to[0].ports[0]: "80" is a string'],
  [
    'AuthorizationPolicy',
    to({ hosts: ['a/b'] }),
    'spec.rules[0].to[0].hosts[0]: "a/b" is not a host, with or without port',
  ],
  ['FaultInjection', fault({ abort: { reset: true }, expiresAt: 5 }), 'spec.expiresAt: 5 is a number'],
  [
    'AuthorizationPolicy',
    from({ ipBlocks: [5], principals: [null] }),
    'spec.rules[0].from[0].ipBlocks[0]: 5 is a number',
    'spec.rules[0].from[0].principals[0]: no value',
  ],
  ['TelemetryPolicy', {}, 'spec: set tracing, accessLog or both'],
  ['TelemetryPolicy', { tracing: { samplingRate: -1 } }, 'spec.tracing.samplingRate: -1 is too small'],
  ['TelemetryPolicy', { accessLog: false }, 'spec.accessLog: false is a boolean'],
  ['FaultInjection', fault({ delay: { fixed: '5' } }), 'spec.delay.fixed: "5" has no unit'],
  ['FaultInjection', fault({ delay: { fixed: '1.5s' } }), 'spec.delay.fixed: "1.5s" is not a duration'],
  [
    'FaultInjection',
    fault({ delay: { fixed: '99999h' } }),
    'spec.delay.fixed: "99999h" is longer than the longest duration, 1193h',
  ],
  ['FaultInjection', fault({ delay: { fixed: 5 } }), 'spec.delay.fixed: 5 is a number'],
  [
    'FaultInjection',
    fault({ abort: { reset: true }, expiresAt: '2026-02-30T00:00:00Z' }),
    'spec.expiresAt: "2026-02-30T00:00:00Z" is not an RFC 3339 time',
  ],
  [
    'FaultInjection',
    fault({ abort: { reset: true }, match: [{ headers: [{ type: 'RegularExpression', name: 'a', value: '(' }] }] }),
    'spec.match[0].headers[0].value: regular expression refused: missing closing ): `(` (RE2 syntax: no back-references, no look-around)',
  ],
  [
    'FaultInjection',
    fault({ abort: { reset: true }, match: [{ path: { type: 'RegularExpression', value: '(?=a)' } }] }),
    'spec.match[0].path.value: regular expression refused: invalid or unsupported Perl syntax: `(?=` (RE2 syntax: no back-references, no look-around)',
  ],
  [
    'FaultInjection',
    fault({
      abort: { reset: true },
      match: [
        {
          headers: [
            { name: 'x-a', value: '1' },
            { name: 'X-A', value: '2' },
          ],
        },
      ],
    }),
    'spec.match[0].headers[1].name: header "X-A" is matched twice; the second would never be read',
  ],
  [
    'FaultInjection',
    fault({ abort: { reset: true }, match: [{ path: { value: '/a//b' } }] }),
    'spec.match[0].path.value: path "/a//b" must not contain "//"',
  ],
  ['TelemetryPolicy', { tracing: { samplingRate: '5%' } }, 'spec.tracing.samplingRate: "5%" is a string'],
]
