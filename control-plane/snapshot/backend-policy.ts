import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import {
  Algorithm,
  type BackendPolicy,
  BackendPolicySchema,
  type ConnectionPool,
  ConnectionPoolSchema,
  LoadBalancerSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { durationMs } from '../../src/api/policy/duration.ts'
import { policyRef } from './policy-ref.ts'

type Spec = DocumentOf<'BackendPolicy'>['value']['spec']

const algorithms = {
  RoundRobin: Algorithm.ROUND_ROBIN,
  LeastRequest: Algorithm.LEAST_REQUEST,
  EWMA: Algorithm.EWMA,
  Random: Algorithm.RANDOM,
  ConsistentHash: Algorithm.CONSISTENT_HASH,
} as const

/**
 * Balancing, pools, breakers and ejection of a Service. In Shadow mode only breakers and ejection are sent, marked:
 * those can be evaluated beside the real thing, a picker or a pool cannot.
 */
export function backendPolicy(document: DocumentOf<'BackendPolicy'>): BackendPolicy {
  const { mode, loadBalancer, connectionPool, circuitBreaker, outlierDetection } = document.value.spec
  const shadow = mode === 'Shadow'
  return create(BackendPolicySchema, {
    ref: policyRef(document),
    ...(!shadow && { loadBalancer: balancer(loadBalancer) }),
    ...(!shadow && connectionPool !== undefined && { connectionPool: pool(connectionPool) }),
    circuitBreakers: (circuitBreaker ?? []).map((breaker) => ({
      endpointScope: breaker.scope === 'Endpoint',
      errorThresholdPercent: breaker.errorThresholdPercentage,
      volumeThreshold: breaker.volumeThreshold,
      rollingWindowMs: durationMs(breaker.rollingWindow),
      resetTimeoutMs: durationMs(breaker.resetTimeout),
      shadow,
    })),
    ...(outlierDetection !== undefined && {
      outlierDetection: {
        consecutive5xx: outlierDetection.consecutive5xxErrors,
        intervalMs: durationMs(outlierDetection.interval),
        baseEjectionMs: durationMs(outlierDetection.baseEjectionTime),
        maxEjectionPercent: outlierDetection.maxEjectionPercent,
        shadow,
      },
    }),
  })
}

function balancer(spec: Spec['loadBalancer']) {
  return create(LoadBalancerSchema, {
    algorithm: algorithms[spec?.algorithm ?? 'LeastRequest'],
    hashHeader: spec?.hash?.header ?? '',
    hashCookie: spec?.hash?.cookie ?? '',
    hashSourceIp: spec?.hash?.sourceIP ?? false,
  })
}

function pool(spec: NonNullable<Spec['connectionPool']>): ConnectionPool {
  return create(ConnectionPoolSchema, {
    connectionsMax: spec.connectionsMax ?? 0,
    pendingRequestsMax: spec.pendingRequestsMax ?? 0,
    requestsMax: spec.requestsMax ?? 0,
    requestsPerConnectionMax: spec.requestsPerConnectionMax ?? 0,
    connectTimeoutMs: durationMs(spec.connectTimeout ?? '0s'),
    idleTimeoutMs: durationMs(spec.idleTimeout ?? '0s'),
  })
}
