import type { Peer } from './cell.ts'
import type { Summary } from './summary.ts'

/** What Outrigger promises about its own cost: medians on one machine in one run. */
export interface Goal {
  readonly cell: string
  /** In the unit that `says` names: a figure's own is divided by `unit`. */
  readonly figure: string
  /** Then it is the ratio to this peer's, round by round. */
  readonly to?: Peer
  readonly unit?: number
  readonly says: string
  readonly atLeast?: number
  readonly atMost?: number
}

const perCpuSecond = 'requestsPerCpuSecond'
const cpu = 'cpuUsPerRequest'

export const goals: readonly Goal[] = [
  {
    cell: 'outrigger-on',
    figure: perCpuSecond,
    to: 'envoy',
    atLeast: 2,
    says: 'requests per CPU-second, features on, to Envoy',
  },
  {
    cell: 'outrigger-on',
    figure: perCpuSecond,
    to: 'nginx',
    atLeast: 0.75,
    says: 'requests per CPU-second, features on, to nginx without features',
  },
  {
    cell: 'outrigger-on',
    figure: perCpuSecond,
    to: 'httpProxy3',
    atLeast: 3,
    says: 'requests per CPU-second, features on, to http-proxy-3',
  },
  { cell: 'outrigger-on', figure: cpu, to: 'off', atMost: 1.15, says: 'CPU of a request, features on, to off' },
  {
    cell: 'outrigger-tls',
    figure: perCpuSecond,
    to: 'envoy',
    atLeast: 2,
    says: 'requests per CPU-second, mutual TLS 1.3 downstream, to Envoy',
  },
  { cell: 'outrigger-mtls', figure: cpu, to: 'envoy', atMost: 0.5, says: 'CPU of a request, two hops, to two Envoys' },
  {
    cell: 'outrigger-h2',
    figure: 'streams10PerCpuSecond',
    to: 'envoy',
    atLeast: 2.5,
    says: 'HTTP/2 requests per CPU-second, 10 streams a connection, features on, to Envoy',
  },
  {
    cell: 'outrigger-h2',
    figure: 'streams1PerCpuSecond',
    to: 'envoy',
    atLeast: 1.3,
    says: 'the same, 1 stream a connection',
  },
  {
    cell: 'outrigger-grpc',
    figure: 'unary10PerCpuSecond',
    to: 'envoy',
    atLeast: 2.5,
    says: 'gRPC calls per CPU-second, 10 streams a connection, features on, to Envoy',
  },
  {
    cell: 'outrigger-grpc',
    figure: 'unary1PerCpuSecond',
    to: 'envoy',
    atLeast: 1.3,
    says: 'the same, 1 stream a connection',
  },
  {
    cell: 'outrigger-grpc',
    figure: 'messagesPerCpuSecond',
    to: 'envoy',
    atLeast: 1.5,
    says: 'messages of gRPC streams per CPU-second, to Envoy',
  },
  {
    cell: 'outrigger-latency',
    figure: 'added-p99Us',
    to: 'envoy',
    atMost: 1,
    says: 'p99 added at 1,000 requests/s, to what Envoy adds',
  },
  {
    cell: 'outrigger-memory',
    figure: 'ussBytes',
    to: 'envoy',
    atMost: 1,
    says: 'private memory (USS) at 1,000 requests/s, to Envoy',
  },
  {
    cell: 'outrigger-memory-10',
    figure: 'ussBytes',
    to: 'envoy',
    atMost: 1,
    says: 'private memory (USS) of each of ten sidecars, to ten Envoys',
  },
  {
    cell: 'outrigger-tcp',
    figure: 'bytesPerCpuSecond',
    to: 'haproxy',
    atLeast: 0.7,
    says: 'MB of opaque bytes per CPU-second, to HAProxy',
  },
  {
    cell: 'outrigger-errors',
    figure: 'loopDelayP99Seconds',
    unit: 0.001,
    atMost: 5,
    says: 'ms that the event loop is late (p99) at 5,000 requests/s with 20 % errors',
  },
  {
    cell: 'outrigger-idle',
    figure: 'bytesPerConnection',
    unit: 1024,
    atMost: 20,
    says: 'KiB of an idle connection, plaintext outbound',
  },
  { cell: 'outrigger-start', figure: 'startMs', atMost: 300, says: 'ms from a first start to the first answer' },
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
    const summary = summaries.find(({ name }) => name === goal.cell)
    const spreads = goal.to === undefined ? summary?.figures : summary?.ratios[goal.to]
    const median = spreads?.[goal.figure]?.median
    if (median === undefined) return []
    const value = median / (goal.unit ?? 1)
    return [{ goal, value, met: value >= (goal.atLeast ?? -Infinity) && value <= (goal.atMost ?? Infinity) }]
  })
}
