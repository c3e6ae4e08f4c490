/** The load generators, on their own CPU, and what they counted. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { BenchFailure } from './failure.ts'
import type { Tools } from './tools.ts'

const run = promisify(execFile)
const pacedClient = fileURLToPath(new URL('node/paced.ts', import.meta.url))
const report = fileURLToPath(new URL('wrk-report.lua', import.meta.url))

export interface Target {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export interface Load {
  readonly requests: number
  readonly seconds: number
  /** Why the figures must not be used; undefined when every request was answered 2xx. */
  readonly void: string | undefined
}

/** Closed loop: each connection sends as soon as it was answered. For capacity, never for latency. */
export async function saturate(
  tools: Tools,
  cpu: number,
  target: Target,
  connections: number,
  seconds: number,
): Promise<Load> {
  const { stdout } = await run(tools.taskset, [
    '-c',
    String(cpu),
    tools.wrk,
    '-t',
    '1',
    '-c',
    String(connections),
    '-d',
    `${seconds}s`,
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
  return { requests, seconds: (counted['durationUs'] ?? 0) / 1e6, void: reasons.join(', ') || undefined }
}

/** Open loop at a fixed rate over all connections. Void as well when less than 99.5 % of the rate was sent. */
export async function paced(
  tools: Tools,
  cpu: number,
  target: Target,
  connections: number,
  perSecond: number,
  seconds: number,
): Promise<Load> {
  const command = [
    '-c',
    String(cpu),
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    pacedClient,
    target.url,
  ]
  const numbers = [perSecond, connections, seconds].map(String)
  const flags = Object.entries(target.headers).map(([name, value]) => `${name}=${value}`)
  const { stdout } = await run(tools.taskset, [...command, ...numbers, ...flags])
  const counted = JSON.parse(stdout) as { sent: number; ok: number; otherStatus: number; failed: number }
  const reasons: string[] = []
  if (counted.failed > 0) reasons.push(`${counted.failed} failed requests`)
  if (counted.otherStatus > 0) reasons.push(`${counted.otherStatus} answers other than 2xx`)
  const asked = perSecond * seconds
  if (counted.sent < asked * 0.995) reasons.push(`${counted.sent} of ${asked} requests were sent`)
  return { requests: counted.ok, seconds, void: reasons.join(', ') || undefined }
}

function headerFlags(target: Target): string[] {
  return Object.entries(target.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
}
