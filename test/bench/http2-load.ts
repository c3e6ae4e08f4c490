/** The generator for HTTP/2: h2load, closed loop, so many streams on each connection at any time. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { BenchFailure } from './failure.ts'
import type { Closed, Load, Target } from './load.ts'
import type { Tools } from './tools.ts'

const run = promisify(execFile)

export interface Multiplexed extends Closed {
  readonly streams: number
  /** Bytes of DATA in each answer: a call that was refused has status 200, and no message. */
  readonly answerBytes: number
}

export async function saturateHttp2(tools: Tools, cpu: number, target: Target, how: Multiplexed): Promise<Load> {
  const { connections, streams, seconds, answerBytes } = how
  const url = new URL(target.url)
  const { Host: authority = url.host, ...headers } = target.headers
  const { stdout } = await run(tools.taskset, [
    '-c',
    String(cpu),
    tools.h2load,
    '--threads=1',
    `--clients=${connections}`,
    `--max-concurrent-streams=${streams}`,
    `--duration=${seconds}`,
    `--connect-to=${url.host}`,
    ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    ...(target.post === undefined ? [] : ['-d', target.post]),
    `http://${authority}${url.pathname}`,
  ])
  return readH2load(stdout, seconds, answerBytes, connections * streams)
}

/** `underWay`: answers that the end may have cut in two. */
export function readH2load(text: string, seconds: number, answerBytes: number, underWay: number): Load {
  const number = (pattern: RegExp): number => {
    const found = pattern.exec(text)?.[1]
    if (found === undefined) throw new BenchFailure(`h2load printed no ${pattern.source}:\n${text}`)
    return Number(found)
  }
  const requests = number(/^requests: .* (\d+) succeeded/m)
  const bytes = number(/\((\d+)\) data$/m)
  const reasons: string[] = []
  const failed = number(/ (\d+) failed/)
  if (failed > 0) reasons.push(`${failed} requests failed`)
  const ok = number(/^status codes: (\d+) 2xx/m)
  if (ok < requests) reasons.push(`${requests - ok} answers other than 2xx`)
  if (requests === 0) reasons.push('no request was answered')
  if (Math.abs(bytes - ok * answerBytes) > underWay * answerBytes)
    reasons.push(`${ok} answers of ${answerBytes} bytes were ${bytes} bytes`)
  return { requests, seconds, bytes, void: reasons.join(', ') || undefined }
}
