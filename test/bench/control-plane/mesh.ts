/** The mesh whose control plane is measured, as the documents that its owner would write. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

export interface MeshSize {
  readonly pods: number
  readonly services: number
}

/** One workload: a Pod that backs one Service. */
export interface Workload {
  readonly namespace: string
  readonly name: string
  readonly serviceAccount: string
  /** Position of its Service. */
  readonly service: number
}

/** Services that one workload calls, itself not included: what its sidecar subscribes to. */
const calls = 10
const servicesPerNamespace = 10
const servicePort = 8_080

/** Everything is spread evenly, and its place in a file follows from its number: nothing here is drawn by chance. */
export class Mesh {
  readonly workloads: readonly Workload[]
  readonly #size: MeshSize

  constructor(size: MeshSize) {
    this.#size = size
    this.workloads = Array.from({ length: size.pods }, (_, at) => {
      const service = at % size.services
      const serviceAccount = `service-${service}`
      return { namespace: namespaceOf(service), name: `${serviceAccount}-${at}`, serviceAccount, service }
    })
  }

  /** For each Service a file with its Pods, one for its endpoints, one for its route, one for its two other policies. */
  files(folder: string): { readonly path: string; readonly text: string }[] {
    const files = [{ path: path.join(folder, 'services', 'namespaces.yaml'), text: this.#namespaces() }]
    for (let at = 0; at < this.#size.services; at += 1) {
      files.push(
        { path: path.join(folder, 'services', `${at}.yaml`), text: this.#servicePods(at) },
        { path: this.endpointsFile(folder, at), text: this.endpoints(at, 0) },
        { path: this.routeFile(folder, at), text: this.route(at, 0) },
        { path: path.join(folder, 'policies', `${at}.yaml`), text: this.#policies(at) },
      )
    }
    return files
  }

  write(folder: string): void {
    for (const { path: file, text } of this.files(folder)) {
      mkdirSync(path.dirname(file), { recursive: true })
      writeFileSync(file, text)
    }
  }

  endpointsFile(folder: string, service: number): string {
    return path.join(folder, 'endpoints', `${service}.yaml`)
  }

  routeFile(folder: string, service: number): string {
    return path.join(folder, 'policies', `route-${service}.yaml`)
  }

  /** The names that the sidecar of a workload asks for: the first Service is one that everybody calls. */
  names({ namespace, name, service }: Workload): string[] {
    const names = ['mesh', `workload/${namespace}/${name}`]
    const called = Array.from({ length: calls - 1 }, (_, i) => 1 + ((service + i) % (this.#size.services - 1)))
    for (const at of [0, ...called]) {
      names.push(`service/${keyOf(at)}`, `endpoints/${keyOf(at)}`, `address/${addressOf(at)}:${servicePort}`)
    }
    return names
  }

  #servicePods(at: number): string {
    const namespace = namespaceOf(at)
    const pods = this.#podsOf(at).map(
      ({ name, serviceAccount }) => `apiVersion: v1
kind: Pod
metadata:
  name: ${name}
  namespace: ${namespace}
  labels: { app: ${serviceAccount}, version: v1, pod: ${name} }
spec:
  serviceAccountName: ${serviceAccount}
  containers:
    - { name: app, ports: [{ name: http, containerPort: ${servicePort} }] }
`,
    )
    const service = `apiVersion: v1
kind: Service
metadata: { name: service-${at}, namespace: ${namespace} }
spec:
  clusterIP: ${addressOf(at)}
  selector: { app: service-${at} }
  ports:
    - { name: http, port: ${servicePort} }
`
    return [service, ...pods].join('---\n')
  }

  /** `mark` changes what it says: a zone is a name like any other. */
  endpoints(at: number, mark: number): string {
    const endpoints = this.#podsOf(at).map(
      ({ name }, i) => `  - addresses: [${podAddress(this.#size, at, i)}]
    zone: ${i === 0 ? markOf(mark) : 'zone-a'}
    targetRef: { kind: Pod, name: ${name} }
`,
    )
    return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-${at}
  namespace: ${namespaceOf(at)}
  labels: { kubernetes.io/service-name: service-${at} }
addressType: IPv4
ports:
  - { name: http, port: ${servicePort} }
endpoints:
${endpoints.join('')}`
  }

  route(at: number, mark: number): string {
    return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: service-${at}, namespace: ${namespaceOf(at)} }
spec:
  parentRefs:
    - { group: "", kind: Service, name: service-${at} }
  rules:
    - name: ${markOf(mark)}
      matches:
        - { path: { type: PathPrefix, value: /api }, headers: [{ name: x-tenant, value: bench }] }
      timeouts: { request: 15s }
      retry: { attempts: 2, codes: [502, 503, 504], backoff: 25ms }
      backendRefs:
        - { name: service-${at}, port: ${servicePort} }
    - name: rest
      backendRefs:
        - { name: service-${at}, port: ${servicePort} }
`
  }

  /** For one workload alone. */
  guard({ namespace, name }: Workload, mark: number): string {
    return `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: guard-${name}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { pod: ${name} } }
  action: DENY
  rules:
    - to: [{ paths: ["/${markOf(mark)}"] }]
`
  }

  #policies(at: number): string {
    const namespace = namespaceOf(at)
    return `apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: service-${at}, namespace: ${namespace} }
spec:
  targetRefs:
    - { kind: Service, name: service-${at} }
  loadBalancer: { algorithm: LeastRequest }
  connectionPool: { connectionsMax: 1024, pendingRequestsMax: 1024, requestsMax: 1024 }
  circuitBreaker:
    - { scope: Endpoint, errorThresholdPercentage: 50, volumeThreshold: 100 }
  outlierDetection: { consecutive5xxErrors: 5, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 50 }
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: callers-${at}, namespace: ${namespace} }
spec:
  selector: { matchLabels: { app: service-${at} } }
  action: ALLOW
  rules:
    - from: [{ namespaces: ["*"] }]
      to: [{ methods: [GET, POST], paths: ["/api/*"] }]
`
  }

  #namespaces(): string {
    const names = new Set(Array.from({ length: this.#size.services }, (_, at) => namespaceOf(at)))
    return [...names]
      .map(
        (name) => `apiVersion: v1
kind: Namespace
metadata: { name: ${name}, labels: { outrigger.dev/inject: enabled } }
---
apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: ${name} }
spec: { mtls: { mode: STRICT } }
`,
      )
      .join('---\n')
  }

  #podsOf(service: number): Workload[] {
    const pods: Workload[] = []
    for (let at = service; at < this.workloads.length; at += this.#size.services) pods.push(this.workloads[at]!)
    return pods
  }
}

/** A word that stands in a resource and says which change it is of. */
export function markOf(mark: number): string {
  return `change-${mark}`
}

/** The newest change that the bytes of a resource are of; 0 when they say none. */
export function readMark(text: string): number {
  return Math.max(0, ...[...text.matchAll(/change-(\d+)/g)].map((match) => Number(match[1])))
}

export function keyOf(service: number): string {
  return `${namespaceOf(service)}/service-${service}`
}

function namespaceOf(service: number): string {
  return `team-${Math.floor(service / servicesPerNamespace)}`
}

function addressOf(service: number): string {
  return `10.96.${service >> 8}.${service & 255}`
}

function podAddress({ services }: MeshSize, service: number, at: number): string {
  const number = at * services + service
  return `10.${128 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`
}
