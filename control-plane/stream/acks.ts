/** How far sidecars are with a policy: what `Programmed` says. */
import { create } from '@bufbuild/protobuf'
import type { AcksRequest, AcksResponse } from '../../src/api/gen/outrigger_pb.ts'
import { AcksResponseSchema } from '../../src/api/gen/outrigger_pb.ts'
import type { Session } from './session.ts'

/** Rejections that are named; the rest is counted. */
export const namedRejectionsMax = 3

interface Count {
  sidecars: number
  acked: number
  rejected: number
  rejections: { workload: string; resource: string; reason: string }[]
}

interface Standing {
  pending: boolean
  rejection: Count['rejections'][number] | undefined
}

/** Counts the sidecars of these sessions. A sidecar with two streams, as while it renews, counts once: the younger one. */
export function countAcks(sessions: Iterable<Session>, { resources, policies }: AcksRequest): AcksResponse {
  const versions = new Map(resources.map(({ name, version }) => [name, version]))
  const carried = policiesByName(resources, policies)
  const counts = policies.map((): Count => ({ sidecars: 0, acked: 0, rejected: 0, rejections: [] }))
  const youngest = new Map<string, Session>()
  for (const session of sessions) if (session.key !== undefined) youngest.set(session.key, session)
  for (const [workload, session] of youngest) {
    const standings = new Map<number, Standing>()
    for (const { name, isAcked, rejected } of session.holdings((one) => versions.get(one))) {
      for (const policy of carried.get(name) ?? []) {
        let standing = standings.get(policy)
        if (standing === undefined) standings.set(policy, (standing = { pending: false, rejection: undefined }))
        if (rejected !== undefined) standing.rejection ??= { workload, resource: name, reason: rejected }
        else if (!isAcked) standing.pending = true
      }
    }
    for (const [policy, standing] of standings) add(counts[policy]!, standing)
  }
  return create(AcksResponseSchema, { policies: counts })
}

function add(count: Count, { pending, rejection }: Standing): void {
  count.sidecars++
  if (rejection !== undefined) {
    count.rejected++
    if (count.rejections.length < namedRejectionsMax) count.rejections.push(rejection)
  } else if (!pending) count.acked++
}

function policiesByName(
  resources: AcksRequest['resources'],
  policies: AcksRequest['policies'],
): ReadonlyMap<string, readonly number[]> {
  const carried = new Map<string, number[]>()
  for (const [policy, { resources: places }] of policies.entries()) {
    for (const place of places) {
      const name = resources[place]?.name
      if (name === undefined) continue
      const named = carried.get(name)
      if (named === undefined) carried.set(name, [policy])
      else named.push(policy)
    }
  }
  return carried
}
