/** Findings about Pods, templates, Namespaces and Services: 3xxx. */

import { readSettings } from '../../../control-plane/inject/annotations.ts'
import { containersOf } from '../../../control-plane/inject/decision.ts'
import { injectPod } from '../../../control-plane/inject/inject-pod.ts'
import type { InjectionTemplate } from '../../../control-plane/inject/template.ts'
import { declaredProtocol } from '../../../control-plane/model/protocol.ts'
import { closest } from '../../api/documents/closest.ts'
import { Protocol } from '../../api/gen/outrigger_pb.ts'
import { marks } from '../../base/kubernetes-names.ts'
import { isOld } from '../check/workloads.ts'
import { asClusterPod } from '../cluster/pods.ts'
import { type CodeName, codes } from './codes.ts'
import { type Message, messageAt } from './message.ts'
import { type PodSubject, type Subjects, suppressedBy } from './subjects.ts'

/** Ports of the sidecar inside of the Pod. */
const sidecarPorts: Readonly<Record<number, string>> = {
  15000: 'its admin API',
  15001: 'outbound traffic',
  15006: 'inbound traffic',
  15020: 'metrics and probes',
  15021: 'its health',
}

const neverMeshed = new Set(['kube-system', 'kube-public', 'kube-node-lease'])

/** `outrigger up` reads them; the same files may go into a cluster. */
const readOnLaptops = /^annotation outrigger\.dev\/load(?:-rate)? /

type Labels = Readonly<Record<string, string>>

/** The settings of injection; `inForce`: a cluster's own, so that what it has injected can be held against them. */
export interface Settings {
  readonly template: InjectionTemplate
  readonly inForce: boolean
}

export function analyzeWorkloads(subjects: Subjects, { template, inForce }: Settings): Message[] {
  const labels = new Map(subjects.namespaces.map(({ name, object }) => [name, object.metadata?.labels ?? {}]))
  return [
    ...subjects.namespaces.flatMap((subject) => namespaceMessages(subject, subjects.systemNamespace)),
    ...subjects.pods.flatMap((subject) => podMessages(subject, labels, template)),
    ...(inForce ? subjects.pods.flatMap((subject) => ageMessages(subject, template)) : []),
    ...subjects.services.flatMap(serviceMessages),
    ...sharedPorts(subjects),
    ...subjects.suppressors.flatMap(suppressorMessages),
  ]
}

function namespaceMessages(subject: Subjects['namespaces'][number], systemNamespace: string): Message[] {
  const value = subject.object.metadata?.labels?.[marks.inject]
  const path = ['metadata', 'labels', marks.inject]
  if (value === undefined) return []
  if (value !== 'enabled' && value !== 'disabled')
    return [
      messageAt(
        subject,
        'invalid-label',
        path,
        `label ${marks.inject} of a Namespace is "${value}": expected enabled or disabled`,
      ),
    ]
  if (value === 'enabled' && (neverMeshed.has(subject.name) || subject.name === systemNamespace))
    return [
      messageAt(subject, 'never-meshed', path, `Pods of ${subject.name} are never meshed: the label does nothing`),
    ]
  return []
}

function podMessages(
  subject: PodSubject,
  namespaces: ReadonlyMap<string, Labels>,
  template: InjectionTemplate,
): Message[] {
  const { pod, base, namespace, runs } = subject
  const at = (...path: readonly (string | number)[]) => [...base, ...path]
  const annotations = pod.metadata?.annotations ?? {}
  const messages = annotationMessages(subject, template)
  const namespaceLabels = namespaces.get(namespace) ?? {}
  const decision = injectPod(pod, { namespace, namespaceLabels }, template)
  const isMarked = annotations[marks.status] !== undefined
  // Annotations that cannot be have findings of their own, each with its place.
  if (decision.is === 'refuse' && decision.code !== 'invalid-annotation') {
    const path = decision.code === 'invalid-label' ? at('metadata', 'labels', marks.inject) : at('spec')
    messages.push(
      messageAt(subject, decision.code in codes ? (decision.code as CodeName) : 'refused', path, decision.reason),
    )
  }
  for (const text of decision.warnings)
    if (!text.startsWith('annotation ')) messages.push(messageAt(subject, 'caution', at('spec'), text))
  if (decision.is === 'skip' && decision.code === 'host-network')
    messages.push(
      messageAt(subject, 'host-network', at('spec', 'hostNetwork'), `it gets no sidecar: ${decision.reason}`),
    )
  if (decision.is === 'injected' && runs)
    messages.push(
      messageAt(
        subject,
        'not-injected',
        [],
        'it has no sidecar, although its labels ask for one: is it older than the label? restart its workload',
      ),
    )
  if (decision.is === 'injected' || isMarked) {
    messages.push(...portMessages(subject))
    if (!isMarked) messages.push(...securityMessages(subject, namespaceLabels, template))
  }
  return messages
}

function ageMessages(subject: PodSubject, template: InjectionTemplate): Message[] {
  if (!subject.runs || !isOld(asClusterPod(subject.pod), template)) return []
  const text = 'its sidecar was injected with other settings than those of now: restart its workload'
  return [messageAt(subject, 'old-sidecar', [], text)]
}

function annotationMessages(subject: PodSubject, template: InjectionTemplate): Message[] {
  const { pod, base } = subject
  const { [marks.inject]: label, ...annotations } = pod.metadata?.annotations ?? {}
  const path = [...base, 'metadata', 'annotations']
  const { errors, warnings } = readSettings(annotations, template.config.injector)
  const nameIn = (text: string): string => /^annotation (\S+?):? /.exec(text)?.[1] ?? ''
  return [
    ...(label === undefined
      ? []
      : [
          messageAt(
            subject,
            'label-as-annotation',
            [...path, marks.inject],
            `${marks.inject} is an annotation here: write it as a label`,
          ),
        ]),
    ...warnings
      .filter((text) => !readOnLaptops.test(text))
      .map((text) => messageAt(subject, 'unknown-annotation', [...path, nameIn(text)], text)),
    ...errors.map((text) => messageAt(subject, 'invalid-annotation', [...path, nameIn(text)], text)),
  ]
}

function portMessages(subject: PodSubject): Message[] {
  const { pod, base } = subject
  const own = new Set(pod.spec?.initContainers?.map(({ name }) => name))
  return containersOf(pod).flatMap((container, index) =>
    (container.ports ?? []).flatMap(({ containerPort }, i) => {
      const use = sidecarPorts[containerPort]
      if (use === undefined || container.name.startsWith('outrigger-')) return []
      const list = own.has(container.name) ? 'initContainers' : 'containers'
      const at = index - (list === 'containers' ? own.size : 0)
      const path = [...base, 'spec', list, at, 'ports', i, 'containerPort']
      return [
        messageAt(
          subject,
          'port-conflict',
          path,
          `port ${containerPort} of container ${container.name} is the sidecar's own (${use}): one of the two cannot listen`,
        ),
      ]
    }),
  )
}

/** An init container with NET_ADMIN is not allowed under "baseline" nor "restricted". */
function securityMessages(subject: PodSubject, labels: Labels, template: InjectionTemplate): Message[] {
  const level = labels['pod-security.kubernetes.io/enforce']
  if (level !== 'baseline' && level !== 'restricted') return []
  const { settings } = readSettings(subject.pod.metadata?.annotations ?? {}, template.config.injector)
  if (settings.interceptionMode === 'NONE') return []
  const text = `Pod Security "${level}" of Namespace ${subject.namespace} refuses NET_ADMIN, which capture by iptables needs: annotate proxy.outrigger.dev/interceptionMode: NONE, or let the namespace be "privileged"`
  return [messageAt(subject, 'pod-security', [...subject.base, 'spec'], text)]
}

interface ServicePort {
  readonly name?: string
  readonly port?: number
  readonly protocol?: string
  readonly appProtocol?: string
  readonly targetPort?: number | string
}

function portsOf(subject: Subjects['services'][number]): readonly ServicePort[] {
  const spec = subject.object['spec'] as { ports?: readonly ServicePort[] } | null | undefined
  return Array.isArray(spec?.ports) ? spec.ports.filter(({ protocol = 'TCP' }) => protocol === 'TCP') : []
}

function serviceMessages(subject: Subjects['services'][number]): Message[] {
  return portsOf(subject).flatMap((port, at) => {
    if (declaredProtocol(port.appProtocol, port.name) !== Protocol.UNSPECIFIED) return []
    if (subject.namespace === 'kube-system' || (subject.namespace === 'default' && subject.name === 'kubernetes'))
      return []
    const text = `port ${port.port} does not say what is spoken: set appProtocol, or a name such as http-${port.name ?? 'web'} or tcp-${port.name ?? 'db'}`
    return [messageAt(subject, 'port-protocol', ['spec', 'ports', at], text)]
  })
}

/** Two Services that select the same Pods and say different things about one port. */
function sharedPorts({ services, pods }: Subjects): Message[] {
  const messages: Message[] = []
  for (const [i, subject] of services.entries()) {
    for (const other of services.slice(0, i)) {
      if (other.namespace !== subject.namespace) continue
      const pod = pods.find(
        (one) => one.namespace === subject.namespace && selects(subject, one) && selects(other, one),
      )
      if (pod === undefined) continue
      for (const [at, port] of portsOf(subject).entries()) {
        const target = port.targetPort ?? port.port
        const twin = portsOf(other).find((one) => (one.targetPort ?? one.port) === target)
        if (twin === undefined) continue
        if (declaredProtocol(twin.appProtocol, twin.name) === declaredProtocol(port.appProtocol, port.name)) continue
        const text = `port ${target} of ${pod.kind} ${pod.namespace}/${pod.name} is declared otherwise by Service ${other.namespace}/${other.name}: the older Service decides`
        messages.push(messageAt(subject, 'shared-port', ['spec', 'ports', at], text))
      }
    }
  }
  return messages
}

function selects(service: Subjects['services'][number], { pod }: PodSubject): boolean {
  const spec = service.object['spec'] as { selector?: Labels | null } | null | undefined
  const wanted = Object.entries(spec?.selector ?? {})
  return wanted.length > 0 && wanted.every(([name, value]) => pod.metadata?.labels?.[name] === value)
}

function suppressorMessages(subject: Subjects['suppressors'][number]): Message[] {
  const known = Object.values(codes).map(({ id }) => id)
  return suppressedBy(subject.object)
    .filter((code) => !known.some((id) => id === code))
    .map((code) => {
      const near = closest(code, known)
      const hint = near === undefined ? '' : `; did you mean ${near}?`
      const path = ['metadata', 'annotations', marks.suppress]
      return messageAt(
        subject,
        'unknown-suppression',
        path,
        `there is no code ${code}${hint} ('outrigger analyze --list-codes')`,
      )
    })
}
