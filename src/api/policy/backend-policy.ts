import { z } from 'zod'
import { admitted, exactlyOne } from './admission.ts'
import { policyMode, targetRefs } from './attachment.ts'
import { countSet, crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { durationMs } from './duration.ts'
import { duration, headerName, ofDurations, positiveDuration, token } from './fields.ts'
import { timeouts } from './timeouts.ts'

const count = () => z.int().min(1).max(4_294_967_295)

const hash = admitted(
  z
    .strictObject({
      header: headerName().optional().describe('Hash of this request header.'),
      cookie: z
        .string()
        .min(1)
        .max(256)
        .regex(token, { error: 'not a cookie name (RFC 6265 token)' })
        .optional()
        .describe('Hash of this cookie.'),
      sourceIP: z.literal(true).optional().describe("Hash of the caller's address."),
    })
    .check(
      crossField<{ header?: string | undefined; cookie?: string | undefined; sourceIP?: true | undefined }>(
        ['header', 'cookie', 'sourceIP'],
        (value, report) => {
          if (countSet(value, ['header', 'cookie', 'sourceIP']) !== 1)
            report('set exactly one of header, cookie, sourceIP')
        },
      ),
    ),
  exactlyOne('header', 'cookie', 'sourceIP'),
)

const loadBalancer = admitted(
  z
    .strictObject({
      algorithm: z
        .enum(['RoundRobin', 'LeastRequest', 'EWMA', 'Random', 'ConsistentHash'])
        .default('LeastRequest')
        .describe('How an endpoint is picked. LeastRequest: the less busy of two at random. EWMA: by latency.'),
      hash: hash.optional().describe('What ConsistentHash hashes.'),
    })
    .check(
      crossField<{ algorithm: string; hash?: object | undefined }>(
        ['algorithm', 'hash'],
        ({ algorithm, hash }, report) => {
          if (algorithm === 'ConsistentHash' && hash === undefined) report('algorithm ConsistentHash needs hash')
          if (algorithm !== 'ConsistentHash' && hash !== undefined)
            report(`hash does not belong to algorithm ${algorithm}`, ['hash'])
        },
      ),
    ),
  { rule: "self.algorithm != 'ConsistentHash' || has(self.hash)", message: 'algorithm ConsistentHash needs hash' },
  {
    rule: "self.algorithm == 'ConsistentHash' || !has(self.hash)",
    message: 'hash belongs to algorithm ConsistentHash',
    messageExpression: "'hash does not belong to algorithm ' + self.algorithm",
    fieldPath: '.hash',
  },
)

const connectionPool = z.strictObject({
  connectionsMax: count().optional().describe("Most open connections to one endpoint. Default: the sidecar's."),
  pendingRequestsMax: z
    .int()
    .min(1)
    .max(4_294_967_295)
    .optional()
    .describe("Most requests that wait for a connection. Default: the sidecar's."),
  requestsMax: count().optional().describe("Most requests in flight to the Service. Default: the sidecar's."),
  requestsPerConnectionMax: count()
    .optional()
    .describe('Requests after which a connection is closed. Default: no limit.'),
  connectTimeout: positiveDuration().optional().describe('Time to connect, TLS included. Default: 5s.'),
  idleTimeout: positiveDuration()
    .optional()
    .describe("Time after which an idle connection is closed. Default: the sidecar's."),
})

const circuitBreaker = z.strictObject({
  scope: z
    .enum(['Service', 'Endpoint'])
    .default('Endpoint')
    .describe('One breaker for the Service, or one for each endpoint.'),
  errorThresholdPercentage: z
    .int()
    .min(1)
    .max(100)
    .default(50)
    .describe('Share of failed requests in the window, in percent, at which the breaker opens (rejects).'),
  volumeThreshold: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(10)
    .describe('Requests in the window below which it never opens.'),
  rollingWindow: positiveDuration().default('10s').describe('Time over which requests are counted.'),
  resetTimeout: positiveDuration().default('30s').describe('Time that it stays open before it lets one probe through.'),
})

const outlierDetection = z.strictObject({
  consecutive5xxErrors: z.int().min(1).max(1_000_000).default(5).describe('Failures in a row that eject an endpoint.'),
  interval: positiveDuration().default('10s').describe('Time between two looks at ejected endpoints.'),
  baseEjectionTime: positiveDuration().default('30s').describe('First ejection; it grows with each further one.'),
  maxEjectionPercent: z
    .int()
    .min(0)
    .max(100)
    .default(10)
    .describe('Most endpoints ejected at a time, in percent; one is always allowed.'),
})

/** Conditions under which a try is repeated; the words of outrigger.proto. */
export const retryConditions = [
  'connect-failure',
  'reset',
  'refused',
  'timeout',
  '5xx',
  'gateway-error',
  'breaker-open',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const

/** After these gRPC statuses the work may have been done; of calls, which are all POST, somebody must say that it may be twice. */
const afterWork: readonly string[] = ['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted']

const backoff = admitted(
  z
    .strictObject({
      base: positiveDuration().default('25ms').describe('Wait before the first retry; it doubles, with full jitter.'),
      max: positiveDuration().optional().describe('Longest wait. Default: ten times base.'),
    })
    .check(
      crossField<{ base: string; max?: string | undefined }>(['base', 'max'], ({ base, max }, report) => {
        if (max !== undefined && durationMs(max) < durationMs(base))
          report(`max (${max}) must not be shorter than base (${base})`, ['max'])
      }),
    ),
  {
    rule: `!has(self.max) || ${ofDurations('duration(self.max) >= duration(self.base)', 'self.max', 'self.base')}`,
    message: 'max must not be shorter than base',
    messageExpression: "'max (' + self.max + ') must not be shorter than base (' + self.base + ')'",
    fieldPath: '.max',
  },
)

const retryFields = z.strictObject({
  attempts: z
    .int()
    .min(0)
    .max(100)
    .optional()
    .describe('Retries after the first try; 0 switches retries off. Default: 1.')
    .meta({ default: 1 }),
  retryOn: z
    .array(z.enum(retryConditions))
    .min(1)
    .max(retryConditions.length)
    .optional()
    .describe(
      'Conditions, besides codes, under which a try is repeated. From cancelled on they are statuses of gRPC calls, and but for unavailable need POST among methods. Default: connect-failure, refused.',
    )
    .meta({ default: ['connect-failure', 'refused'] }),
  codes: z.array(z.int().min(400).max(599)).min(1).max(200).optional().describe('Status codes that are retried.'),
  methods: z
    .array(z.string().min(1).max(64).regex(token, { error: 'not a method (RFC 9110 token)' }))
    .min(1)
    .max(32)
    .optional()
    .describe('Methods that may be sent twice after bytes were sent. Default: GET, HEAD, OPTIONS, TRACE, PUT, DELETE.')
    .meta({ default: ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'] }),
  perTryTimeout: duration()
    .optional()
    .describe(
      'Time of one try. 0s: none. An HTTPRoute timeouts.backendRequest comes first. Default: timeouts.backendRequest.',
    ),
  backoff: backoff.optional().describe('Wait between tries.'),
  maxBodyBytes: z
    .int()
    .min(0)
    .max(1_048_576)
    .optional()
    .describe('Request bodies up to this many bytes are kept for a retry; larger ones are not retried. Default: 65536.')
    .meta({ default: 65_536 }),
})

const retry = admitted(
  retryFields.check(
    crossField<{ retryOn?: string[] | undefined; methods?: string[] | undefined }>(
      ['retryOn', 'methods'],
      ({ retryOn = [], methods = [] }, report) => {
        const at = retryOn.findIndex((word) => afterWork.includes(word))
        if (at !== -1 && !methods.includes('POST')) report(needsPost(retryOn[at]!), ['retryOn', at])
      },
    ),
  ),
  {
    rule: `!has(self.retryOn) || !self.retryOn.exists(word, word in ['${afterWork.join("', '")}']) || (has(self.methods) && 'POST' in self.methods)`,
    message: needsPost('a condition'),
    fieldPath: '.retryOn',
  },
)

function needsPost(word: string): string {
  return `${word} may come after the work was done: add POST to methods if calls may be repeated then`
}

const hedging = z.strictObject({
  delay: positiveDuration().describe(
    'Time without an answer after which another try is begun at another endpoint, while the first goes on. The first answer wins.',
  ),
  maxAttempts: z
    .int()
    .min(2)
    .max(5)
    .default(2)
    .describe('Tries of one request, the first included, that may be made so; each costs one retry of the budget.'),
  methods: z
    .array(z.string().min(1).max(64).regex(token, { error: 'not a method (RFC 9110 token)' }))
    .min(1)
    .max(32)
    .optional()
    .describe('Methods that may reach several endpoints at the same time. Default: GET, HEAD, OPTIONS.')
    .meta({ default: ['GET', 'HEAD', 'OPTIONS'] }),
})

const retryConstraint = z.strictObject({
  budget: z
    .strictObject({
      percent: z
        .int()
        .min(0)
        .max(100)
        .default(20)
        .describe('Most retries, in percent of the requests in the interval.'),
      interval: positiveDuration().default('10s').describe('Sliding time over which both are counted.'),
    })
    .prefault({})
    .describe('Share of requests that may be retries.'),
  minRetryRate: z
    .strictObject({
      count: z.int().min(0).max(1_000_000).default(10).describe('Retries that are always allowed ...'),
      interval: positiveDuration().default('1s').describe('... in this time.'),
    })
    .prefault({})
    .describe('Retries that are allowed however few requests there are.'),
})

const spec = z
  .strictObject({
    mode: policyMode(),
    targetRefs: targetRefs('Service').describe('Services that it holds for.'),
    loadBalancer: loadBalancer.optional().describe('How an endpoint is picked. Default: LeastRequest.'),
    connectionPool: connectionPool.optional().describe('Limits and times of upstream connections.'),
    circuitBreaker: admitted(z.array(circuitBreaker).min(1).max(2), {
      rule: 'self.size() < 2 || self[0].scope != self[1].scope',
      message: 'two breakers of one scope; one for each scope',
      messageExpression: "'two breakers of scope ' + self[0].scope + '; one for each scope'",
    })
      .optional()
      .describe('Breakers, one for each scope. Default: none.'),
    outlierDetection: outlierDetection.optional().describe('Ejects endpoints that fail in a row. Default: off.'),
    timeouts: timeouts({ request: 'none', backendRequest: 'none' })
      .optional()
      .describe('Time limits of every request to the Service; what an HTTPRoute sets in its timeouts comes first.'),
    retry: retry.optional().describe('Retries of every route of the Service; an HTTPRoute retry overrides its fields.'),
    hedging: hedging.optional().describe('A slow try gets company at another endpoint. Default: off.'),
    retryConstraint: retryConstraint
      .optional()
      .describe('Budget of retries and hedging. Default: 20 percent over 10s, at least 10 retries a second.'),
  })
  .check(
    crossField<{ circuitBreaker?: { scope: string }[] | undefined }>(
      ['circuitBreaker'],
      ({ circuitBreaker = [] }, report) => {
        const [first, second] = circuitBreaker
        if (first !== undefined && second !== undefined && first.scope === second.scope) {
          report(`two breakers of scope ${second.scope}; one for each scope`, ['circuitBreaker', 1, 'scope'])
        }
      },
    ),
  )
  .describe('How the callers of the targets behave.')

/** How callers of a Service balance, pool, break and retry. */
export const backendPolicy = strictDocument(
  'outrigger.dev/v1alpha1',
  'BackendPolicy',
  spec,
  'How callers of a Service pick endpoints, pool connections, break circuits, eject and retry.',
)

/** How callers of a Service balance, pool, break and retry. */
export type BackendPolicy = z.infer<typeof backendPolicy>
