import { renderTable } from '../table.ts'
import type { Check } from './checks.ts'
import type { Display, Picture } from './display.ts'
import { clockTime, msText, percentText, shortNames } from './display-text.ts'
import type { TrafficRow } from './traffic-rows.ts'

/** One line per caller and callee every few seconds: for logs and pipes. */
export class PlainDisplay implements Display {
  readonly everySeconds = 5
  readonly #wallMs: () => number

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  progress(line: string): void {
    console.error(line)
  }

  event(line: string): void {
    console.log(`${clockTime(this.#wallMs())} ${line}`)
  }

  picture(picture: Picture): void {
    const time = clockTime(this.#wallMs())
    const { client, phase, revision } = picture
    const where = phase === '' ? '' : ` [${phase}]`
    if (client !== undefined) {
      const { requestsPerSecond, successPercent, p50Ms, p99Ms } = client
      console.log(
        `${time}${where} client sees ${requestsPerSecond.toFixed(1)} req/s, ${percentText(successPercent)} % ok, p50 ${msText(p50Ms)} ms, p99 ${msText(p99Ms)} ms (revision ${revision}, ${picture.connected}/${picture.sidecars} sidecars connected)`,
      )
    }
    const short = shortNames(picture.rows)
    for (const row of picture.rows) {
      if (row.requestsPerSecond > 0 || isNotable(row)) console.log(`${time}   ${rowText(row, short)}`)
    }
  }

  result(title: string, checks: readonly Check[]): void {
    console.log(`\n${title}\n\n${checksTable(checks)}\n`)
  }
}

/** The checks at the end, as a table. */
export function checksTable(
  checks: readonly Check[],
  mark: (check: Check) => string = ({ ok }) => (ok ? 'ok' : 'FAILED'),
): string {
  return renderTable(
    [{ title: 'CHECK' }, { title: 'BOUND', align: 'right' }, { title: 'MEASURED', align: 'right' }, { title: '' }],
    checks.map((check) => [check.that, check.bound, check.measured, mark(check)]),
  )
}

function isNotable({ breaker, refused }: TrafficRow): boolean {
  return refused !== '' || (breaker !== '' && breaker !== 'closed')
}

function rowText(row: TrafficRow, short: (name: string) => string): string {
  const parts = [
    `${short(row.from)} -> ${short(row.to)}: ${row.requestsPerSecond.toFixed(1)} req/s, ${percentText(row.successPercent)} % ok`,
    `p50 ${msText(row.p50Ms)} ms, p99 ${msText(row.p99Ms)} ms`,
  ]
  if (row.retriesPerSecond > 0) parts.push(`${row.retriesPerSecond.toFixed(1)} retries/s`)
  if (row.breaker !== '') parts.push(`breaker ${row.breaker}`)
  if (row.refused !== '') parts.push(`refused by ${row.refused}`)
  return parts.join(', ')
}
