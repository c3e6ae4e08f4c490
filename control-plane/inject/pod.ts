/** A Pod as injection sees it: what it reads is typed, everything else passes as it is. */
export interface Pod {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata?: PodMetadata
  readonly spec?: PodSpec
  readonly [field: string]: unknown
}

export interface PodMetadata {
  readonly name?: string
  readonly generateName?: string
  readonly namespace?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ownerReferences?: readonly {
    readonly apiVersion?: string
    readonly kind: string
    readonly name: string
    readonly uid?: string
    readonly controller?: boolean
  }[]
  readonly [field: string]: unknown
}

export interface PodSpec {
  readonly containers?: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly volumes?: readonly Volume[]
  readonly hostNetwork?: boolean
  readonly restartPolicy?: string
  readonly terminationGracePeriodSeconds?: number
  readonly os?: { readonly name?: string }
  readonly securityContext?: SecurityContext
  readonly [field: string]: unknown
}

export interface SecurityContext {
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] }
  readonly [field: string]: unknown
}

export interface Volume {
  readonly name: string
  readonly [field: string]: unknown
}

export interface ContainerPort {
  readonly containerPort: number
  readonly name?: string
  readonly protocol?: string
}

export interface Container {
  readonly name: string
  readonly image?: string
  readonly ports?: readonly ContainerPort[]
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[]
  readonly securityContext?: SecurityContext
  /** Of an init container, `Always`: it runs beside the others. */
  readonly restartPolicy?: string
  readonly lifecycle?: { readonly preStop?: Hook; readonly postStart?: Hook }
  readonly livenessProbe?: Probe
  readonly readinessProbe?: Probe
  readonly startupProbe?: Probe
  readonly [field: string]: unknown
}

/** What the kubelet does when a container starts or ends. */
export interface Hook {
  readonly httpGet?: unknown
  readonly [handler: string]: unknown
}

/** Probe of the kubelet: exactly one of the four handlers. */
export interface Probe {
  readonly httpGet?: HttpGet
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string }
  readonly grpc?: { readonly port: number; readonly service?: string | null }
  readonly exec?: unknown
  readonly timeoutSeconds?: number
  readonly [field: string]: unknown
}

export interface HttpGet {
  readonly path?: string
  readonly port: number | string
  readonly host?: string
  readonly scheme?: string
  readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[]
}
