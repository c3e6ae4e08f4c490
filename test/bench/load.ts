/** The load generators, on their own CPU, and what they counted. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { BenchFailure } from './failure.ts'
import type { OpenLoop, OpenLoopCounts } from './node/open-loop.ts'
import type { Tools } from './tools.ts'

const run = promisify(execFile)
const openLoop = fileURLToPath(new URL('node/open-loop.ts', import.meta.url))
const report = fileURLToPath(new URL('wrk-report.lua', import.meta.url))

export interface Target {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** File with the body of the request, which then is a POST. */
  readonly post?: string
}

export interface Load {
  readonly requests: number
  readonly seconds: number
  /** Of the answers, heads included. */
  readonly bytes: number
  /** Why the figures must not be used; undefined when every request was answered 2xx. */
  readonly void: string | undefined
}

export interface Closed {
  readonly connections: number
  readonly seconds: number
}

/** Closed loop: each connection sends as soon as it was answered. For capacity, never for latency. */
export async function saturate(tools: Tools, cpu: number, target: Target, closed: Closed): Promise<Load> {
  const { stdout } = await run(tools.taskset, [
    '-c',
    String(cpu),
    tools.wrk,
    '-t',
    '1',
    '-c',
    String(closed.connections),
    '-d',
    `${closed.seconds}s`,
    '--timeout',
    '5s',
    '-s',
    report,
    ...headerFlags(target),
    target.url,
  ])
  const line = /^BENCH (.*)$/m.exec(stdout)?.[1]
  if (line === undefined) throw new BenchFailure(`wrk printed no result:\n${stdout}`)
  const counted = JSON.parse(line) as Record<string, number>
  const requests = counted['requests'] ?? 0
  const bad = ['connect', 'read', 'write', 'timeout', 'status'].filter((kind) => (counted[kind] ?? 0) > 0)
  const reasons = bad.map(
    (kind) => `${counted[kind]} ${kind === 'status' ? 'answers other than 2xx' : `${kind} errors`}`,
  )
  if (requests === 0) reasons.push('no request was answered')
  return {
    requests,
    seconds: (counted['durationUs'] ?? 0) / 1e6,
    bytes: counted['bytes'] ?? 0,
    void: reasons.join(', ') || undefined,
  }
}

export interface Paced extends Closed {
  readonly perSecond: number
  /** Answers other than 2xx that are allowed, as a share of all. */
  readonly otherStatusMax?: number
  /** The generator's own delay (p99) from which the latencies would be the generator's. */
  readonly lagMaxUs?: number
}

export interface PacedLoad extends Load {
  readonly counts: OpenLoopCounts
}

/** Open loop at a fixed rate over all targets; latencies count from the moment at which a request was due. */
export async function paced(tools: Tools, cpu: number, targets: readonly Target[], how: Paced): Promise<PacedLoad> {
  const { stdout } = await run(tools.taskset, openLoopCommand(cpu, targets, how))
  const counts = JSON.parse(stdout) as OpenLoopCounts
  const { sent, ok, otherStatus, failed, firstFailure, lagP99Us, bytes } = counts
  const asked = Math.round(how.perSecond * how.seconds)
  const reasons: string[] = []
  if (failed > 0) reasons.push(`${failed} failed requests (${firstFailure})`)
  if (otherStatus > (how.otherStatusMax ?? 0) * asked) reasons.push(`${otherStatus} answers other than 2xx`)
  if (sent < asked) reasons.push(`${sent} of ${asked} requests were sent`)
  if (lagP99Us > (how.lagMaxUs ?? Number.POSITIVE_INFINITY))
    reasons.push(`the generator itself was ${Math.round(lagP99Us)} us late (p99)`)
  return { requests: ok + otherStatus, seconds: how.seconds, bytes, void: reasons.join(', ') || undefined, counts }
}

/** What taskset runs; `reportSeconds` for a line of counts in between. */
export function openLoopCommand(
  cpu: number,
  targets: readonly Target[],
  { perSecond, connections, seconds }: Paced,
  reportSeconds?: number,
): string[] {
  const [first] = targets
  if (first === undefined) throw new Error('no target')
  const options: OpenLoop = {
    ports: targets.map(({ url }) => Number(new URL(url).port)),
    path: new URL(first.url).pathname,
    headers: first.headers,
    perSecond,
    connections,
    seconds,
    ...(reportSeconds !== undefined && { reportSeconds }),
  }
  return [
    '-c',
    String(cpu),
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    openLoop,
    JSON.stringify(options),
  ]
}

function headerFlags(target: Target): string[] {
  return Object.entries(target.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
}
