/** Names that Outrigger gives things in Kubernetes. One place, so that chart, webhook, control plane and command agree. */

/** Labels and annotations that people write. */
export const marks = {
  /** On a Namespace: `enabled` | `disabled`; on a Pod: `"true"` | `"false"`, which wins. A label: webhooks can select by it. */
  inject: 'outrigger.dev/inject',
  /** Annotation on an injected Pod: JSON with the template's hash; its presence is what makes an endpoint meshed. */
  status: 'outrigger.dev/status',
  /** Annotation: ports whose bytes are relayed without a look at them, `3306,6379`. */
  opaquePorts: 'outrigger.dev/opaque-ports',
  /** Annotation of any object: codes that `outrigger analyze` leaves out for it, `ORG3008,ORG2012`. */
  suppress: 'outrigger.dev/suppress',
  /** Prefix of what steers capture: `includeOutboundPorts` and its kin (Istio's words). */
  traffic: 'traffic.outrigger.dev/',
  /** Prefix of what steers the proxy itself: cpu, memory, logLevel, interceptionMode, nativeSidecar ... */
  proxy: 'proxy.outrigger.dev/',
} as const

/** Annotations on the Secret of the authority. */
export const rotationMarks = {
  /** Written by people, `now`: a new root, please. Taken away when it has begun. */
  ask: 'outrigger.dev/rotate',
  /** Written by the control plane: `announced TIME`, `switched TIME`; none when no rotation is under way. */
  phase: 'outrigger.dev/rotation',
} as const

/** Inside an injected Pod. */
export const inPod = {
  proxyContainer: 'outrigger-proxy',
  initContainer: 'outrigger-init',
  /** User and group of the proxy; its own traffic is not captured. */
  proxyUid: 1337,
  /** Projected service-account token, audience `tokenAudience`. */
  tokenFile: '/var/run/secrets/outrigger/token',
  /** ConfigMap `rootConfigMap` of the Pod's namespace. */
  trustBundleFile: '/var/run/secrets/outrigger-root/root.pem',
  /** emptyDir in memory: key, certificate, last good policy. */
  stateDir: '/var/lib/outrigger/state',
} as const

/** In the namespace of the control plane, whose default is `outrigger-system`. */
export const inSystem = {
  namespace: 'outrigger-system',
  /** Deployment, Service and ServiceAccount; the chart's fullname override changes nothing here. */
  name: 'outrigger',
  /** Lease of the replica that writes status, caBundle and root ConfigMaps. */
  lease: 'outrigger-leader',
  /** Secret with the authority's key: see control-plane/README.md. */
  authoritySecret: 'outrigger-ca',
  /** The same, where `authoritySecret` is somebody else's: his newest key, and the one that still signs. */
  authorityState: 'outrigger-ca-state',
  /** ConfigMap with `root.pem`, in every namespace. */
  rootConfigMap: 'outrigger-root',
  webhookConfiguration: 'outrigger-injector',
  tokenAudience: 'outrigger',
} as const
