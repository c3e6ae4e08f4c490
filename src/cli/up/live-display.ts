import { stripVTControlCharacters } from 'node:util'
import { paint, renderTable } from '../table.ts'
import type { Check } from './checks.ts'
import type { Display, Picture } from './display.ts'
import { clockTime, msText, percentText, shortNames } from './display-text.ts'
import { checksTable } from './plain-display.ts'
import type { TrafficRow } from './traffic-rows.ts'

/** A table that is drawn anew in place each second, with the latest events under it. */
export class LiveDisplay implements Display {
  readonly everySeconds = 1
  readonly #wallMs: () => number
  readonly #events: string[] = []
  #drawn = 0

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  progress(line: string): void {
    console.error(line)
    // Lines of stderr stand below the table now: draw the next one under them.
    this.#drawn = 0
  }

  event(line: string): void {
    this.#events.push(
      ...line.split('\n').map((part, i) => `${i === 0 ? clockTime(this.#wallMs()) : '        '}  ${part}`),
    )
    this.#events.splice(0, this.#events.length - eventsMax)
  }

  picture(picture: Picture): void {
    // Both are 0 on a terminal that does not know its size.
    const columns = process.stdout.columns || 120
    const rows = process.stdout.rows || 40
    const lines = [
      headline(picture),
      clientLine(picture),
      '',
      ...table(picture.rows).split('\n'),
      '',
      ...picture.refused.map((problem) => paint('red', `not in force: ${problem}`)),
      ...this.#events,
      '',
      paint('dim', 'Ctrl-C stops everything. Another terminal: outrigger status, outrigger trace last'),
    ]
      .slice(0, rows - 1)
      .map((line) => fit(line, columns))
    const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`
    process.stdout.write(`${up}\x1b[0J${lines.join('\n')}\n`)
    this.#drawn = lines.length
  }

  result(title: string, checks: readonly Check[]): void {
    this.#drawn = 0
    const mark = ({ ok }: Check): string => (ok ? paint('green', 'ok') : paint('red', 'FAILED'))
    console.log(`\n${paint('bold', title)}\n\n${checksTable(checks, mark)}\n`)
  }
}

const eventsMax = 8

function headline({ revision, connected, sidecars, phase }: Picture): string {
  const state = `policy revision ${revision}, ${connected} of ${sidecars} sidecars connected`
  return paint('bold', phase === '' ? state : `${phase}   ${state}`)
}

function clientLine({ client }: Picture): string {
  if (client === undefined) return paint('dim', 'no load')
  const { requestsPerSecond, successPercent, p50Ms, p99Ms } = client
  return `the client sees ${requestsPerSecond.toFixed(1)} req/s, ${percentText(successPercent)} % ok, p50 ${msText(p50Ms)} ms, p99 ${msText(p99Ms)} ms`
}

function table(rows: readonly TrafficRow[]): string {
  const short = shortNames(rows)
  return renderTable(
    [
      { title: 'FROM' },
      { title: 'TO' },
      { title: 'REQ/S', align: 'right' },
      { title: 'OK %', align: 'right' },
      { title: 'P50 MS', align: 'right' },
      { title: 'P99 MS', align: 'right' },
      { title: 'RETRIES/S', align: 'right' },
      { title: 'BREAKER' },
      { title: 'REFUSED' },
    ],
    rows.map((row) => [
      short(row.from),
      short(row.to),
      row.requestsPerSecond.toFixed(1),
      successCell(row.successPercent),
      msText(row.p50Ms),
      msText(row.p99Ms),
      row.retriesPerSecond === 0 ? '-' : row.retriesPerSecond.toFixed(1),
      breakerCell(row.breaker),
      row.refused === '' ? '' : paint('red', row.refused),
    ]),
  )
}

function successCell(percent: number | undefined): string {
  const text = percentText(percent)
  if (percent === undefined) return text
  return percent >= 99.9 ? paint('green', text) : percent >= 95 ? paint('yellow', text) : paint('red', text)
}

function breakerCell(breaker: string): string {
  if (breaker === '') return '-'
  if (breaker === 'closed') return breaker
  return paint(breaker.includes('open:') && !breaker.includes('half-open:') ? 'red' : 'yellow', breaker)
}

/** A wrapped line would make the next drawing miss its place. Colours are dropped from a line that must be cut. */
function fit(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line)
  return plain.length <= columns ? line : `${plain.slice(0, columns - 1)}…`
}
