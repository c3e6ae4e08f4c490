/** What checks say, for people and programs. */
import { paint } from '../table.ts'

export type Outcome = 'ok' | 'warning' | 'failed' | 'skipped'

/** One line of `outrigger check`. */
export interface Finding {
  readonly outcome: Outcome
  /** What is so. */
  readonly text: string
  /** What to do; none for what is well. */
  readonly remedy?: string
}

/** Findings about one thing. */
export interface Group {
  readonly name: string
  readonly findings: readonly Finding[]
}

export function ok(text: string): Finding {
  return { outcome: 'ok', text }
}

export function warning(text: string, remedy: string): Finding {
  return { outcome: 'warning', text, remedy }
}

export function failed(text: string, remedy: string): Finding {
  return { outcome: 'failed', text, remedy }
}

/** What could not be looked at because something before it is not as it must be. */
export function skipped(text: string, remedy: string): Finding {
  return { outcome: 'skipped', text, remedy }
}

const marks: Readonly<Record<Outcome, string>> = {
  ok: paint('green', '  ok     '),
  warning: paint('yellow', '  warning'),
  failed: paint('red', '  failed '),
  skipped: paint('dim', '  skipped'),
}

/** A line each, the remedy below it. */
export function reportText(groups: readonly Group[]): string {
  const lines = groups.flatMap(({ name, findings }) => [
    paint('bold', name),
    ...findings.flatMap(({ outcome, text, remedy }) => [
      `${marks[outcome]}  ${text}`,
      ...(remedy === undefined ? [] : [`             ${remedy}`]),
    ]),
    '',
  ])
  const count = (outcome: Outcome): number =>
    groups.flatMap(({ findings }) => findings).filter((finding) => finding.outcome === outcome).length
  const sum = (['ok', 'warning', 'failed', 'skipped'] as const)
    .map((outcome) => [count(outcome), outcome] as const)
    .filter(([n]) => n > 0)
    .map(([n, outcome]) => `${n} ${outcome}`)
  return `${[...lines, sum.join(', ')].join('\n')}\n`
}

/** Nothing failed, and nothing had to be left out. */
export function isWell(groups: readonly Group[]): boolean {
  return groups.every(({ findings }) => findings.every(({ outcome }) => outcome === 'ok' || outcome === 'warning'))
}

/** `a, b, c and 4 more` */
export function some(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).join(', ')
  return names.length > most ? `${shown} and ${names.length - most} more` : shown
}
