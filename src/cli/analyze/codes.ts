/** Codes of `outrigger analyze`. A code never changes its meaning and is never used again. */

export type Severity = 'error' | 'warning' | 'info'

export interface Code {
  /** ORGnnnn */
  readonly id: string
  readonly severity: Severity
  readonly meaning: string
}

/**
 * By the word that the finding itself has: 1xxx a document cannot be read as it is (src/api/policy/README.md), 2xxx documents do
 * not fit together (control-plane/README.md), 3xxx workloads and sidecars.
 */
export const codes = {
  'file-too-large': code(1001, 'error', 'a file of more than 4 MiB'),
  'binary-file': code(1002, 'error', 'no text'),
  'not-utf8': code(1003, 'error', 'a text in another encoding than UTF-8'),
  'empty-file': code(1004, 'error', 'nothing in the file: half-written?'),
  'yaml-syntax': code(1005, 'error', 'not YAML 1.2'),
  alias: code(1006, 'error', 'an alias without anchor, to itself, or too many of them'),
  'too-deep': code(1007, 'error', 'nested more than 64 levels'),
  'duplicate-key': code(1008, 'error', 'a key twice in a map'),
  'forbidden-key': code(1009, 'error', 'a key that objects have by themselves'),
  'ambiguous-word': code(1010, 'warning', 'a bare yes, no, on or off: kubectl reads a boolean'),
  'not-a-map': code(1011, 'error', 'the document is not a map'),
  'unknown-kind': code(1012, 'error', 'a kind of the mesh that does not exist'),
  'unknown-api-version': code(1013, 'error', 'a version that is not known'),
  'duplicate-document': code(1014, 'error', 'same kind, namespace and name as another document'),
  'unknown-field': code(1015, 'error', 'a field that does not exist'),
  'missing-field': code(1016, 'error', 'a field that must be there'),
  'wrong-type': code(1017, 'error', 'a value of another type'),
  'wrong-value': code(1018, 'error', 'a value that is none of those possible'),
  'out-of-range': code(1019, 'error', 'a number or length outside of its range'),
  rule: code(1020, 'error', 'fields that contradict each other, or a value of the wrong form'),
  'not-supported': code(1021, 'error', 'a field of Gateway API that the mesh does not have yet'),
  'too-many-problems': code(1022, 'error', 'more than 500 problems in one file'),
  unreadable: code(1023, 'error', 'a file, folder or kind that cannot be read'),
  'last-good-damaged': code(1024, 'warning', 'the last good texts were not used at the start'),
  'last-good-not-kept': code(1025, 'warning', 'the last good texts cannot be written'),
  'dangling-reference': code(2001, 'error', 'a name that nothing has'),
  'missing-port': code(2002, 'error', 'a port that the Service, or its EndpointSlices, do not have'),
  'not-permitted': code(2003, 'error', 'a reference to another namespace that nothing permits'),
  'unsupported-backend': code(2004, 'error', 'a backend that cannot be one'),
  'unsupported-address': code(2005, 'error', "an endpoint whose address is not of the slice's family"),
  conflicted: code(2006, 'error', 'an older policy of the same kind holds for the target'),
  cycle: code(2007, 'error', 'a mirror or redirect that leads back to where it began'),
  'duplicate-endpoint': code(2008, 'error', 'one address and port for two Pods'),
  'invalid-identity': code(2009, 'error', 'a service account that cannot stand in a SPIFFE id'),
  'selects-nothing': code(2010, 'warning', 'a selector or target without Pods'),
  expired: code(2011, 'warning', 'a FaultInjection past its end'),
  'no-effect': code(2012, 'warning', 'a policy, or a field, that changes nothing as it stands'),
  'not-checked': code(2013, 'warning', 'too many selectors to look for conflicts'),
  'not-http': code(2014, 'warning', 'a route for a port that does not speak HTTP'),
  'no-service-parent': code(2015, 'warning', 'a route without a Service as parent'),
  'unsupported-filter': code(2016, 'error', 'a filter that the mesh does not know, or that cannot stand there'),
  'not-grpc': code(2017, 'warning', 'a GRPCRoute for a port that does not speak HTTP/2'),
  displaced: code(2018, 'error', 'a route whose port a route of another kind has'),
  'not-injected': code(3001, 'warning', 'a Pod that should have a sidecar and has none'),
  'invalid-label': code(3002, 'error', 'a value of the label outrigger.dev/inject that is not known'),
  'unknown-annotation': code(3003, 'warning', 'an annotation of the mesh that nobody reads'),
  'invalid-annotation': code(3004, 'error', 'an annotation whose value cannot be: the Pod is refused'),
  'proxy-user': code(
    3005,
    'error',
    "a container that runs as the sidecar's user: it would bypass the mesh, so the Pod is refused",
  ),
  'host-network': code(3006, 'warning', "a Pod in its node's network gets no sidecar"),
  'container-name': code(3007, 'error', 'a container with the name of the sidecar: the Pod is refused'),
  'port-protocol': code(
    3008,
    'info',
    'a Service port that does not say what is spoken: it is detected, and server-first protocols wait',
  ),
  'port-conflict': code(3009, 'error', 'an application port that the sidecar needs'),
  'unmeshed-target': code(3010, 'warning', 'a policy for Pods without a sidecar: nobody enforces it'),
  'shared-port': code(3011, 'warning', 'two Services say different protocols for one port of a Pod'),
  'pod-security': code(3012, 'error', 'Pod Security of the namespace refuses the init container that captures traffic'),
  'old-sidecar': code(3013, 'warning', 'a sidecar injected with other settings or of another image than now'),
  'label-as-annotation': code(
    3014,
    'warning',
    'outrigger.dev/inject as an annotation: it is a label, and does nothing here',
  ),
  'never-meshed': code(
    3015,
    'warning',
    "a label in a namespace that is never meshed: Kubernetes' own, or the control plane's",
  ),
  refused: code(3017, 'error', 'a Pod that asks for a sidecar and is refused for a reason without a code of its own'),
  'other-mesh': code(3018, 'error', 'a Pod with the sidecar of another mesh: the Pod is refused'),
  'own-rules': code(3019, 'error', 'an init container that may change the rules of capture: the Pod is refused'),
  caution: code(3020, 'warning', 'something of the Pod works otherwise beside a sidecar'),
  'unknown-suppression': code(3016, 'warning', 'a code to suppress that does not exist'),
} as const satisfies Record<string, Code>

export type CodeName = keyof typeof codes

/** The code of a finding's word. A word that has none is a mistake of ours, which a test looks for. */
export function codeOf(word: string): Code {
  if (Object.hasOwn(codes, word)) return codes[word as CodeName]
  return { id: 'ORG1000', severity: 'error', meaning: word }
}

function code(number: number, severity: Severity, meaning: string): Code {
  return { id: `ORG${number}`, severity, meaning }
}
