/** Policies that are in order; those of broken-policies.ts are not. A file and the API server must decide alike. */

export const service = [{ kind: 'Service', name: 'web' }]
export const web = { matchLabels: { app: 'web' } }
export const policy = (fields: object) => ({ targetRefs: service, ...fields })
export const fault = (fields: object) => ({ targetRefs: service, ...fields })
export const rules = (...list: object[]) => ({ rules: list })
export const from = (source: object) => rules({ from: [source] })
export const to = (operation: object) => rules({ to: [operation] })

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
      timeouts: { request: '0s', backendRequest: '5s' },
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
  ['BackendPolicy', 'a try as long as the request', policy({ timeouts: { request: '5s', backendRequest: '5000ms' } })],
  ['BackendPolicy', 'a limit for tries alone', policy({ timeouts: { backendRequest: '5s' } })],
  ['FaultInjection', 'used by an ExtensionRef only', { abort: { reset: true } }],
  ['FaultInjection', 'gRPC calls alone', { abort: { grpcStatus: 'UNAVAILABLE' } }],
  ['FaultInjection', 'gRPC calls and others', { abort: { httpStatus: 503, grpcStatus: 'RESOURCE_EXHAUSTED' } }],
  [
    'FaultInjection',
    'a rule of a GRPCRoute, with its group',
    {
      targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'GRPCRoute', name: 'r', sectionName: 'a' }],
      abort: { reset: true },
    },
  ],
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
