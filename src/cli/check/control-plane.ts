/** The control plane: its replicas, and what they say. */
import { inSystem } from '../../base/kubernetes-names.ts'
import { version } from '../../base/version.ts'
import { age } from '../age.ts'
import type { Replica } from '../cluster/control-planes.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { listAll } from '../cluster/pods.ts'
import { type Finding, failed, type Group, ok, some, warning } from './report.ts'

const dayMs = 86_400_000

export function checkReplicas(replicas: readonly Replica[], { systemNamespace }: OpenedCluster): Group {
  const findings: Finding[] = []
  const logs = `kubectl -n ${systemNamespace} logs deployment/${inSystem.name} says why`
  const notReady = replicas.filter(({ ready }) => !ready).map(({ pod }) => pod)
  findings.push(
    notReady.length === 0
      ? ok(`${replicas.length} of ${replicas.length} replicas are ready`)
      : failed(`not ready: ${some(notReady)}`, logs),
  )
  const silent = replicas.flatMap(({ pod, answer }) => (answer.is === 'silent' ? [`${pod} (${answer.reason})`] : []))
  if (silent.length > 0)
    findings.push(failed(`cannot be asked: ${some(silent)}`, 'see Permissions; else it does not run yet'))
  const answers = replicas.flatMap(({ pod, answer }) => (answer.is === 'status' ? [{ pod, ...answer.status }] : []))
  const programs = [...new Set(answers.map(({ program }) => program))]
  if (programs.length > 1)
    findings.push(
      warning(
        `replicas of several versions: ${programs.join(', ')}`,
        'a rollout is under way, or stuck: kubectl rollout status',
      ),
    )
  else if (programs.length === 1)
    findings.push(
      programs[0] === `outrigger ${version}`
        ? ok(`version ${version}, as this program`)
        : warning(
            `it is ${programs[0]}, this program is ${version}`,
            'use the command of the same version as the mesh',
          ),
    )
  const leader = replicas.find(({ leads }) => leads)
  findings.push(
    leader === undefined
      ? failed(
          'nobody leads: no status, caBundle or root is written',
          `kubectl -n ${systemNamespace} get lease ${inSystem.lease} -o yaml; ${logs}`,
        )
      : ok(`${leader.pod} leads`),
  )
  const waiting = answers.filter(({ synced }) => !synced)
  if (waiting.length > 0) {
    const reason = waiting.flatMap(({ blocked }) => blocked)[0] ?? 'not every source has been read yet'
    findings.push(failed(`nothing is published by ${some(waiting.map(({ pod }) => pod))}: ${reason}`, logs))
  }
  const errors = new Set(
    answers.flatMap(({ sources }) =>
      sources.flatMap(({ problems }) =>
        problems.filter(({ severity }) => severity === 'error').map(({ file, message }) => `${file}: ${message}`),
      ),
    ),
  )
  if (errors.size > 0)
    findings.push(
      warning(`documents with an error: ${some([...errors], 2)}`, "'outrigger analyze' has all of them, with codes"),
    )
  return { name: 'Control plane', findings }
}

/** Roots that sidecars pin, and the life of certificates. `wallMs`: unix milliseconds. */
export async function checkIdentity(
  { cluster }: OpenedCluster,
  replicas: readonly Replica[],
  meshed: ReadonlySet<string>,
  wallMs: number,
): Promise<Group> {
  const findings: Finding[] = []
  const maps = await listAll(cluster, '/api/v1/configmaps', {
    fieldSelector: `metadata.name=${inSystem.rootConfigMap}`,
  })
  const roots = new Map(
    maps
      .filter(({ metadata }) => metadata?.name === inSystem.rootConfigMap)
      .map(({ metadata, data }) => [
        metadata?.namespace ?? '',
        (data as { 'root.pem'?: string } | undefined)?.['root.pem'] ?? '',
      ]),
  )
  const missing = [...meshed].filter((namespace) => (roots.get(namespace) ?? '') === '').sort()
  const differ = new Set(
    [...meshed].map((namespace) => roots.get(namespace)).filter((root) => root !== undefined && root !== ''),
  )
  if (missing.length > 0)
    findings.push(
      failed(
        `no ConfigMap ${inSystem.rootConfigMap} in: ${some(missing)}: Pods there cannot start`,
        'the leading replica writes it within 15 s; see Control plane',
      ),
    )
  else if (differ.size > 1)
    findings.push(
      warning(
        'namespaces have different roots',
        'while a root is being replaced that passes within 15 s; later something else writes it',
      ),
    )
  else findings.push(ok(`the root is in all ${meshed.size} namespaces of the mesh`))
  const answers = replicas.flatMap(({ answer }) => (answer.is === 'status' ? [answer.status] : []))
  const rootEnds = Math.min(...answers.map(({ rootExpiresAt }) => rootExpiresAt))
  if (answers.length > 0)
    findings.push(
      rootEnds - wallMs < 90 * dayMs
        ? warning(
            `the root ends in ${age(rootEnds - wallMs)}`,
            'replace it while the old one is trusted still: control-plane/README.md, Identity',
          )
        : ok(`the root lives for ${age(rootEnds - wallMs)} yet`),
    )
  const ending = answers
    .flatMap(({ sidecars }) => sidecars)
    .filter(({ connected, certificateExpiresAt }) => connected && certificateExpiresAt - wallMs < 3_600_000)
  if (ending.length > 0)
    findings.push(
      failed(
        `certificates that end within an hour: ${some(ending.map(({ workload }) => workload))}`,
        'they are renewed at two thirds of their life: the log of the sidecar says what keeps it',
      ),
    )
  const refusals = Object.entries(sumOf(answers.map(({ certificateRefusals }) => certificateRefusals)))
  if (refusals.length > 0)
    findings.push(
      warning(
        `certificates were refused: ${refusals.map(([cause, count]) => `${count} ${cause}`).join(', ')}`,
        'a token of another audience or cluster, or one that has expired; the log of the control plane says whose',
      ),
    )
  return { name: 'Identity', findings }
}

function sumOf(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const one of counts) for (const [name, count] of Object.entries(one)) sum[name] = (sum[name] ?? 0) + count
  return sum
}
