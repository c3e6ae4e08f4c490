/** What injection tells a sidecar of its application's probes, as JSON in OUTRIGGER_APP_PROBES: by path. */
export type AppProbe =
  | {
      readonly kind: 'http'
      readonly port: number
      readonly path: string
      readonly tls: boolean
      readonly headers: readonly (readonly [string, string])[]
      readonly timeoutMs: number
    }
  | { readonly kind: 'tcp'; readonly port: number; readonly timeoutMs: number }
  /** grpc.health.v1.Health/Check. */
  | { readonly kind: 'grpc'; readonly port: number; readonly service: string; readonly timeoutMs: number }
