import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** Policies in a folder of the control plane, one of which is another with each call of `change`. */
export class ChangingPolicies {
  readonly folder: string
  #changes = 0

  constructor(workFolder: string) {
    this.folder = path.join(workFolder, 'policies')
    mkdirSync(this.folder)
    for (const [name, text] of texts(0)) writeFileSync(path.join(this.folder, name), text)
  }

  get changes(): number {
    return this.#changes
  }

  /** Route, backend, and what the inbound side allows, in turn. None of them refuses what the load sends. */
  change(): void {
    this.#changes += 1
    const all = texts(this.#changes)
    const [name, text] = all[this.#changes % all.length]!
    // As a Kubernetes volume does it: a reader never sees half a file.
    const next = path.join(this.folder, '..', 'next-policy')
    writeFileSync(next, text)
    renameSync(next, path.join(this.folder, name))
  }
}

function texts(mark: number): readonly (readonly [name: string, text: string])[] {
  return [
    [
      'route.yaml',
      `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: backend, namespace: bench }
spec:
  parentRefs:
    - { group: "", kind: Service, name: backend }
  rules:
    - name: bench
      matches:
        - path: { type: PathPrefix, value: /bench }
          headers:
            - { name: x-tenant, value: bench }
        - path: { type: PathPrefix, value: /other-${mark} }
      timeouts: { request: ${15_000 + mark}ms }
      retry: { attempts: ${1 + (mark % 3)}, codes: [502, 503, 504], backoff: 25ms }
      backendRefs:
        - { name: backend, port: 80 }
`,
    ],
    [
      'backend.yaml',
      `apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: backend, namespace: bench }
spec:
  targetRefs:
    - { kind: Service, name: backend }
  loadBalancer: { algorithm: LeastRequest }
  connectionPool: { connectionsMax: ${1024 + mark}, pendingRequestsMax: 1024, requestsMax: 1024 }
  circuitBreaker:
    - { scope: Endpoint, errorThresholdPercentage: 50, volumeThreshold: ${100 + (mark % 100)} }
  outlierDetection: { consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 50 }
  retry:
    retryOn: [connect-failure, refused, reset]
  retryConstraint:
    budget: { percent: 20 }
`,
    ],
    [
      'authorization.yaml',
      `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: reads, namespace: bench }
spec:
  selector:
    matchLabels: { app: backend }
  action: ALLOW
  rules:
    - from:
        - principals: [spiffe://bench.test/ns/bench/sa/client]
      to:
        - methods: [GET]
          paths: [/bench/*, /other-${mark}]
`,
    ],
  ]
}
