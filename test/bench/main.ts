/**
 * `npm run bench`: what a request costs in Outrigger and in its peers, on this machine, in one run.
 * Protocol and what makes a cell void: README.md.
 */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import type { Bench, Cell, Group } from './cell.ts'
import { cells } from './cells/cells.ts'
import { writeCertificates } from './certificates.ts'
import { controlPlane } from './control-plane/main.ts'
import { BenchFailure } from './failure.ts'
import { judge } from './goals.ts'
import { groups } from './groups.ts'
import { startBackend, startGrpcBackend, startSink } from './helpers.ts'
import { measure } from './measure.ts'
import { type Options, readOptions, usage } from './options.ts'
import { port } from './ports.ts'
import type { Round } from './round.ts'
import { withBench } from './session.ts'
import { soakMain } from './soak/main.ts'
import { type Results, type Summary, summarize } from './summary.ts'
import { table } from './table.ts'
import { timingOf } from './timing.ts'
import { machine, versions } from './tools.ts'

const everyCell: readonly Cell[] = inGroups(cells)

// Until the end is reached this run has failed, however it ends.
process.exitCode = 1
try {
  const [first, ...rest] = process.argv.slice(2)
  if (first === 'control-plane') process.exitCode = await controlPlane(rest)
  else if (first === 'soak') process.exitCode = await soakMain(rest, say)
  else process.exitCode = await main(readOptions(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof BenchFailure)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
}

async function main(options: Options): Promise<number> {
  if (options.help) {
    process.stdout.write(usage + listing())
    return 0
  }
  const chosen = choose(options.cells)
  return withBench(options.build, say, async (bench) => {
    await writeCertificates(path.join(bench.workFolder, 'certificates'), systemClock)
    await startHelpers(bench)
    const results = await allRounds(bench, chosen, options)
    return report(chosen, results, options, versions(bench.tools))
  })
}

async function startHelpers(bench: Bench): Promise<void> {
  const backend = startBackend(bench)
  const sink = startSink(bench)
  startGrpcBackend(bench)
  await bench.processes.ready(`http://127.0.0.1:${port.backend}/`, {}, [backend])
  await bench.processes.ready(`http://127.0.0.1:${port.sink}/`, {}, [sink])
  bench.processes.keepRunning()
}

/** Round by round, each time beginning one cell later, so that no cell always runs at the same moment. */
async function allRounds(bench: Bench, chosen: readonly Cell[], options: Options): Promise<Results> {
  const results = new Map<string, Round[]>(chosen.map((cell) => [cell.name, []]))
  const roundsOf = (cell: Cell): number => timingOf(groups[cell.group].timing, options).rounds
  const most = Math.max(...chosen.map(roundsOf))
  for (let round = 0; round < most; round += 1) {
    const from = round % chosen.length
    for (const cell of [...chosen.slice(from), ...chosen.slice(0, from)]) {
      if (round >= roundsOf(cell)) continue
      const result = await measure(bench, cell, options)
      results.get(cell.name)?.push(result)
      say(`round ${round + 1} of ${roundsOf(cell)}  ${cell.name.padEnd(22)} ${brief(cell, result)}`)
    }
  }
  return results
}

function report(chosen: readonly Cell[], results: Results, options: Options, tools: Record<string, string>): number {
  const summaries = summarize(chosen, results)
  const verdicts = judge(summaries)
  process.stdout.write(table(summaries, verdicts, options))
  if (options.json !== undefined) {
    const date = new Date(systemClock.wall()).toISOString()
    const document = {
      date,
      machine: machine(),
      tools,
      options,
      summaries,
      verdicts,
      rounds: Object.fromEntries(results),
    }
    writeFileSync(options.json, `${JSON.stringify(document, undefined, 2)}\n`)
  }
  const isVoid = summaries.some((summary: Summary) => summary.void.length > 0)
  const isMissed = verdicts.some((verdict) => !verdict.met)
  return isVoid || (options.gate && isMissed) ? 1 : 0
}

function choose(names: readonly string[] | undefined): readonly Cell[] {
  if (names === undefined) return everyCell
  const known = new Set<string>([...Object.keys(groups), ...everyCell.map((cell) => cell.name)])
  const unknown = names.filter((name) => !known.has(name))
  if (unknown.length > 0) {
    const all = [...known].join(', ')
    throw new BenchFailure(`--cells: no cell or group is called ${unknown.join(', ')}; there are: ${all}`)
  }
  return everyCell.filter((cell) => names.includes(cell.name) || names.includes(cell.group))
}

function inGroups(all: readonly Cell[]): Cell[] {
  return (Object.keys(groups) as Group[]).flatMap((group) => all.filter((cell) => cell.group === group))
}

function listing(): string {
  return (Object.keys(groups) as Group[])
    .map((group) => {
      const of = everyCell.filter((cell) => cell.group === group)
      return `${group}: ${groups[group].title}\n${of.map((cell) => `  ${cell.name.padEnd(24)} ${cell.about}\n`).join('')}`
    })
    .join('')
}

/** The figures of the group's table, without peers. */
function brief(cell: Cell, round: Round): string {
  const shown = groups[cell.group].columns.flatMap(({ head, figure, peer, digits, factor = 1 }) => {
    const value = round.figures[figure]
    return peer !== undefined || value === undefined ? [] : [`${head} ${(value * factor).toFixed(digits)}`]
  })
  if (round.noisy) shown.push(`disturbed ${(round.disturbed * 100).toFixed(0)} %`)
  if (round.void !== undefined) shown.push(`VOID: ${round.void}`)
  return shown.join(', ')
}

/** Progress goes to stderr: stdout is the table. */
function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`)
}
