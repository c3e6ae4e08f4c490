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

/** What one control plane on one CPU promises to a thousand sidecars, in the units that stand in `says`. */
export interface ControlPlaneGoal {
  readonly figure: 'changeP99Ms' | 'memoryKbPerSidecar' | 'cutSeconds' | 'restartSeconds'
  readonly says: string
  readonly atMost: number
}

export const controlPlaneGoals: readonly ControlPlaneGoal[] = [
  { figure: 'changeP99Ms', atMost: 250, says: 'ms from a change of policy to the last acknowledgement, p99' },
  { figure: 'memoryKbPerSidecar', atMost: 200, says: 'KB of the control plane for each connected sidecar' },
  { figure: 'cutSeconds', atMost: 10, says: 's until all are in sync after all connections were cut' },
  { figure: 'restartSeconds', atMost: 10, says: 's until all are in sync after the control plane was killed' },
]

export interface ControlPlaneVerdict {
  readonly goal: ControlPlaneGoal
  readonly value: number
  readonly met: boolean
}

export function judgeControlPlane(values: Readonly<Record<ControlPlaneGoal['figure'], number>>): ControlPlaneVerdict[] {
  return controlPlaneGoals.map((goal) => ({
    goal,
    value: values[goal.figure],
    met: values[goal.figure] <= goal.atMost,
  }))
}

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
