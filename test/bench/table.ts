import { styleText } from 'node:util'
import type { Group } from './cell.ts'
import type { ControlPlaneVerdict, Verdict } from './goals.ts'
import { pacedPerSecond } from './measure.ts'
import type { Options } from './options.ts'
import type { Spread, Summary } from './summary.ts'

const titles: Record<Group, string> = {
  plain: 'HTTP/1.1, one hop, no TLS',
  tls: 'HTTP/1.1, one hop, mutual TLS 1.3 downstream, plain upstream',
  'two-hop': 'HTTP/1.1, two hops, mutual TLS 1.3 between them (sum of both)',
  memory: `memory at ${pacedPerSecond} requests/s, open loop (highest of the window)`,
}

/** The whole report as text: one table per group, the goals, and what its reader should know. */
export function table(summaries: readonly Summary[], verdicts: readonly Verdict[], options: Options): string {
  const lines: string[] = []
  for (const group of Object.keys(titles) as Group[]) {
    const rows = summaries.filter((summary) => summary.group === group)
    if (rows.length > 0) lines.push('', styleText('bold', titles[group]), ...align([head(group), ...rows.map(cells)]))
  }
  lines.push(
    '',
    `Medians of ${options.rounds} rounds of ${options.seconds} s (min-max); ${options.connections} connections, answers of 128 bytes.`,
    'Ratios compare like with like, round by round: bare proxies with envoy-router, ours with features on with envoy-on.',
    'They are of requests per CPU-second, above 1 is cheaper; in the memory table of RSS, below 1 is smaller.',
  )
  const noisy = summaries.filter((summary) => summary.noisyRounds > 0)
  if (noisy.length > 0) {
    const names = noisy.map((summary) => `${summary.name} (${summary.noisyRounds})`).join(', ')
    lines.push(
      styleText('yellow', `Something else used the proxy's CPU in some rounds; run again on a quiet machine: ${names}`),
    )
  }
  if (verdicts.length > 0) lines.push('', styleText('bold', 'Goals'), ...verdicts.map(verdictLine))
  for (const summary of summaries) {
    for (const reason of summary.void) lines.push(styleText('red', `VOID ${summary.name}, ${reason}`))
  }
  return `${lines.join('\n').trimStart()}\n`
}

function head(group: Group): string[] {
  const ratio = group === 'memory' ? 'RSS to Envoy' : 'to Envoy'
  return ['cell', 'CPU us/request', 'requests/CPU-s', 'requests/s', 'RSS MB', 'USS MB', ratio, 'to http-proxy-3', '']
}

function cells(summary: Summary): string[] {
  return [
    summary.void.length > 0 ? `${summary.name} VOID` : summary.name,
    figure(summary.cpuUsPerRequest, 1, 1),
    figure(summary.requestsPerCpuSecond, 0, 1),
    summary.requestsPerSecond?.median.toFixed(0) ?? '-',
    figure(summary.rssBytes, 0, 1e-6),
    figure(summary.ussBytes, 0, 1e-6),
    figure(summary.toEnvoy, 2, 1),
    figure(summary.toHttpProxy3, 2, 1),
    summary.about,
  ]
}

function figure(value: Spread | undefined, digits: number, factor: number): string {
  if (value === undefined) return '-'
  const text = (number: number): string => (number * factor).toFixed(digits)
  return `${text(value.median)} (${text(value.min)}-${text(value.max)})`
}

/** One goal, and whether it is met. */
export function verdictLine({ goal, value, met }: Verdict | ControlPlaneVerdict): string {
  const bound = 'atLeast' in goal ? `at least ${goal.atLeast}` : `at most ${goal.atMost}`
  const line = `  ${met ? 'met   ' : 'MISSED'} ${value.toFixed(2)} (${bound}): ${goal.says}`
  return styleText(met ? 'green' : 'red', line)
}

/** Numbers to the right, names and remarks to the left. */
export function align(rows: readonly string[][]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((text, column) =>
        column === 0 || column === row.length - 1 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  )
}
