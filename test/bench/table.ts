import { styleText } from 'node:util'
import type { Group } from './cell.ts'
import type { ControlPlaneVerdict, Verdict } from './goals.ts'
import { type Column, groups } from './groups.ts'
import type { Options } from './options.ts'
import type { Spread, Summary } from './summary.ts'
import { timingOf } from './timing.ts'

/** The whole report as text: one table per group, the goals, and what its reader should know. */
export function table(summaries: readonly Summary[], verdicts: readonly Verdict[], options: Options): string {
  const lines: string[] = []
  for (const group of Object.keys(groups) as Group[]) {
    const rows = summaries.filter((summary) => summary.group === group)
    if (rows.length > 0) lines.push(...groupTable(group, rows, options))
  }
  lines.push(
    '',
    'Medians of the rounds (min-max). Ratios compare like with like, round by round: bare proxies with envoy-router, ours',
    'with features on with envoy-on. Above 1 is better where capacity is compared, below 1 where cost, memory or time is.',
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

function groupTable(group: Group, rows: readonly Summary[], options: Options): string[] {
  const { title, columns, timing } = groups[group]
  const { rounds, seconds } = timingOf(timing, options)
  const head = ['cell', ...columns.map((column) => column.head), '']
  const notes = rows.flatMap(({ name, note }) => (note === undefined ? [] : [`${name}: ${note}`]))
  return [
    '',
    `${styleText('bold', title)}, ${rounds} x ${seconds} s`,
    ...align([head, ...rows.map((row) => cells(row, columns))]),
    ...notes,
  ]
}

function cells(summary: Summary, columns: readonly Column[]): string[] {
  return [
    summary.void.length > 0 ? `${summary.name} VOID` : summary.name,
    ...columns.map((column) => {
      const spreads = column.peer === undefined ? summary.figures : summary.ratios[column.peer]
      return figure(spreads?.[column.figure], column)
    }),
    summary.about,
  ]
}

function figure(value: Spread | undefined, { digits, factor = 1, short = false }: Column): string {
  if (value === undefined) return '-'
  const text = (number: number): string => (number * factor).toFixed(digits)
  return short ? text(value.median) : `${text(value.median)} (${text(value.min)}-${text(value.max)})`
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
