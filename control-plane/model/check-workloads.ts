import { type Problem, problemAt } from '../../src/api/documents/problem.ts'
import { parseSpiffeId } from '../../src/base/spiffe.ts'
import type { MeshModel } from './mesh-model.ts'
import { isMeshed, spiffeId } from './meshed.ts'

/** Meshed Pods that can never get a certificate: their peers would refuse them for ever. */
export function checkWorkloads(model: MeshModel): Problem[] {
  return model.index
    .all('Pod')
    .filter((pod) => isMeshed(model.index, pod) && parseSpiffeId(spiffeId('any', pod)) === undefined)
    .map((pod) =>
      problemAt(pod, ['spec', 'serviceAccountName'], {
        code: 'invalid-identity',
        message: `"${pod.value.spec.serviceAccountName}" in namespace ${pod.namespace} cannot be part of a SPIFFE id`,
        expected: 'lower-case letters, digits, "-" and "."',
      }),
    )
}
