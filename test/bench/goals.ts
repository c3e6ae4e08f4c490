import type { Summary } from './summary.ts'

/** What Outrigger promises about its own cost, as ratios of medians on one machine in one run. */
export interface Goal {
  readonly cell: string
  readonly to: 'toEnvoy' | 'toHttpProxy3'
  readonly says: string
  readonly atLeast?: number
  readonly atMost?: number
}

export const goals: readonly Goal[] = [
  { cell: 'outrigger-on', to: 'toEnvoy', atLeast: 1.3, says: 'requests per CPU-second, features on, to Envoy' },
  {
    cell: 'outrigger-on',
    to: 'toHttpProxy3',
    atLeast: 3,
    says: 'requests per CPU-second, features on, to http-proxy-3',
  },
  { cell: 'outrigger-tls', to: 'toEnvoy', atLeast: 1.3, says: 'requests per CPU-second, TLS 1.3 downstream, to Envoy' },
  { cell: 'outrigger-memory', to: 'toEnvoy', atMost: 1.5, says: 'RSS at 1,000 requests/s, to Envoy' },
]

export interface Verdict {
  readonly goal: Goal
  readonly value: number
  readonly met: boolean
}

/** Only of goals whose cells were measured. */
export function judge(summaries: readonly Summary[]): Verdict[] {
  return goals.flatMap((goal) => {
    const value = summaries.find((summary) => summary.name === goal.cell)?.[goal.to]?.median
    if (value === undefined) return []
    return [{ goal, value, met: value >= (goal.atLeast ?? 0) && value <= (goal.atMost ?? Number.POSITIVE_INFINITY) }]
  })
}
