/** Fields that never enter the encoder's table, or not with each of their values. */

/** May enter when a value comes again. */
export const ordinary = 0
/** Another value in nearly every message: only the name is worth a place. */
export const fresh = 1
/**
 * Never indexed, here or by anybody behind (RFC 7541 7.1.3): a sidecar gathers the requests of many clients on one connection,
 * and who may send requests there could find out by their size what others sent.
 */
export const secret = 2

export type FieldKind = typeof ordinary | typeof fresh | typeof secret

export const fieldKinds: ReadonlyMap<string, FieldKind> = new Map([
  ...of(secret, 'authorization', 'proxy-authorization', 'cookie', 'set-cookie'),
  ...of(secret, 'x-api-key', 'api-key', 'apikey', 'x-auth-token', 'x-access-token', 'x-id-token', 'x-session-token'),
  ...of(
    secret,
    'x-amz-security-token',
    'x-csrf-token',
    'x-xsrf-token',
    'x-goog-iap-jwt-assertion',
    'authentication-info',
  ),
  ...of(fresh, 'traceparent', 'tracestate', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'uber-trace-id'),
  ...of(fresh, 'grpc-trace-bin', 'grpc-tags-bin', 'x-cloud-trace-context', 'x-amzn-trace-id', 'x-datadog-trace-id'),
  ...of(
    fresh,
    'x-datadog-parent-id',
    'x-request-id',
    'x-correlation-id',
    'x-request-start',
    'request-id',
    'idempotency-key',
  ),
  ...of(fresh, 'x-envoy-upstream-service-time', 'x-runtime', 'x-response-time', 'server-timing'),
])

function of(kind: FieldKind, ...names: readonly string[]): readonly (readonly [string, FieldKind])[] {
  return names.map((name) => [name, kind] as const)
}
