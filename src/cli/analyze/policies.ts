/** Policies that nobody enforces: their Pods have no sidecar. */

import { indexDocuments } from '../../../control-plane/model/document-index.ts'
import { objectKey } from '../../../control-plane/model/document-key.ts'
import { meshModel } from '../../../control-plane/model/mesh-model.ts'
import { isMeshed } from '../../../control-plane/model/meshed.ts'
import { selectPods } from '../../../control-plane/model/selection.ts'
import type { DocumentOf } from '../../api/documents/document.ts'
import { problemAt } from '../../api/documents/problem.ts'
import { codes } from './codes.ts'
import { type Message, messageOfProblem, objectText } from './message.ts'
import type { Subjects } from './subjects.ts'

type Policy = DocumentOf<'AuthorizationPolicy'> | DocumentOf<'PeerAuthentication'> | DocumentOf<'FaultInjection'>

export function analyzePolicies({ documents }: Subjects): Message[] {
  const model = meshModel(indexDocuments(documents))
  const { index, workloads } = model
  const policies: Policy[] = [
    ...index.all('AuthorizationPolicy'),
    ...index.all('PeerAuthentication'),
    ...index.all('FaultInjection').filter(({ value }) => value.spec.selector !== undefined),
  ]
  return policies.flatMap((policy) => {
    const { selector } = policy.value.spec
    const refs = policy.kind === 'AuthorizationPolicy' ? (policy.value.spec.targetRefs ?? []) : []
    const pods =
      selector === undefined
        ? refs.flatMap(({ name }) => [...(workloads.podsByService.get(`${policy.namespace}/${name}`) ?? [])])
        : selectPods(index, policy.namespace, selector.matchLabels)
    const bare = [...new Set(pods)].filter((pod) => !isMeshed(index, pod))
    if (bare.length === 0) return []
    const path = ['spec', selector === undefined ? 'targetRefs' : 'selector']
    const rest = bare.length > 1 ? ` and ${bare.length - 1} more` : ''
    const message = `Pod ${objectKey(bare[0]!)}${rest} has no sidecar: nobody enforces this there`
    const problem = problemAt(policy, path, { severity: 'warning', code: 'unmeshed-target', message })
    return [
      {
        ...messageOfProblem(problem, objectText(policy.kind, policy.namespace, policy.name)),
        severity: codes['unmeshed-target'].severity,
      },
    ]
  })
}
