import { request } from 'undici'
import type { Stats } from '../../admin/stats.ts'
import type { Clock } from '../../base/clock.ts'
import type { Transitions } from './checks.ts'
import type { WorkloadPlan } from './mesh-plan.ts'
import type { Look } from './traffic-rows.ts'

/** Ports that every sidecar has on the address of its workload (Istio's numbers). */
export const sidecarPorts = { admin: 15_000, outbound: 15_001, metrics: 15_020, health: 15_021 } as const

/** `ns/name`, as stats and status call a workload. */
export function workloadKey(workload: Pick<WorkloadPlan, 'namespace' | 'name'>): string {
  return `${workload.namespace}/${workload.name}`
}

/** What all sidecars say now; one that does not answer is left out. */
export async function lookAtAll(workloads: readonly WorkloadPlan[], clock: Clock): Promise<Look> {
  const stats = new Map<string, Stats>()
  await Promise.all(
    workloads
      .filter(({ meshed }) => meshed)
      .map(async (workload) => {
        const answer = await get(`http://${workload.address}:${sidecarPorts.admin}/stats`)
        if (answer !== undefined) stats.set(workloadKey(workload), JSON.parse(answer) as Stats)
      }),
  )
  return { atMs: clock.now(), stats }
}

/** The transitions that circuit breakers have made so far, from each sidecar's /metrics. */
export async function breakerTransitions(workloads: readonly WorkloadPlan[]): Promise<Transitions> {
  const transitions = new Map<string, number>()
  await Promise.all(
    workloads
      .filter(({ meshed }) => meshed)
      .map(async ({ name, address }) => {
        const text = (await get(`http://${address}:${sidecarPorts.metrics}/metrics`)) ?? ''
        for (const { labels, value } of samples(text, 'outrigger_circuit_transitions_total')) {
          // "shop/inventory" or "inventory.shop.svc.cluster.local": scenarios say "inventory".
          const service = (labels['service'] ?? '').split('/').at(-1)?.split('.')[0] ?? ''
          const key = `${name} ${service} ${labels['to'] ?? ''}`
          transitions.set(key, (transitions.get(key) ?? 0) + value)
        }
      }),
  )
  return transitions
}

/** Samples of one metric in Prometheus' text format. */
export function* samples(text: string, metric: string): Generator<{ labels: Record<string, string>; value: number }> {
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${metric}{`)) continue
    const end = line.lastIndexOf('}')
    const labels: Record<string, string> = {}
    for (const [, name = '', value = ''] of line.slice(metric.length + 1, end).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[name] = value
    }
    yield {
      labels,
      value: Number(
        line
          .slice(end + 1)
          .trim()
          .split(' ')[0],
      ),
    }
  }
}

async function get(url: string): Promise<string | undefined> {
  try {
    const { statusCode, body } = await request(url, { headersTimeout: answerMs, bodyTimeout: answerMs })
    const text = await body.text()
    return statusCode === 200 ? text : undefined
  } catch {
    // A sidecar that is being started again has nothing to say; the supervisor tells why.
    return undefined
  }
}

const answerMs = 900
