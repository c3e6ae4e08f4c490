/**
 * `npm run bench`: what a request costs in Outrigger and in its peers, on this machine, in one run.
 * Protocol and what makes a cell void: README.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/base/clock.ts'
import { build } from '../build.ts'
import type { Bench, Cell } from './cell.ts'
import { writeCertificates } from './certificates.ts'
import { controlPlane } from './control-plane/main.ts'
import { BenchFailure } from './failure.ts'
import { judge } from './goals.ts'
import { startBackend, startSink } from './helpers.ts'
import { measure, type Round } from './measure.ts'
import { type Options, readOptions, usage } from './options.ts'
import { outrigger } from './outrigger.ts'
import { direct, peers } from './peers.ts'
import { port } from './ports.ts'
import { Processes, requireFreePorts } from './processes.ts'
import { type Results, type Summary, summarize } from './summary.ts'
import { table } from './table.ts'
import { findTools, machine, twoCpus, versions } from './tools.ts'

const everyCell: readonly Cell[] = inGroups([direct, ...outrigger, ...peers])

// Until the end is reached this run has failed, however it ends.
process.exitCode = 1
try {
  const [first, ...rest] = process.argv.slice(2)
  process.exitCode =
    first === 'control-plane' ? await controlPlane(rest) : await main(readOptions(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof BenchFailure)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
}

async function main(options: Options): Promise<number> {
  if (options.help) {
    process.stdout.write(usage + everyCell.map((cell) => `  ${cell.name.padEnd(18)} ${cell.about}\n`).join(''))
    return 0
  }
  const cells = choose(options.cells)
  const tools = findTools()
  const [proxyCpu, restCpu] = twoCpus()
  await requireFreePorts(Object.values(port))
  if (options.build) {
    say('building dist/')
    compile()
  }
  const workFolder = mkdtempSync(path.join(tmpdir(), 'outrigger-bench-'))
  const folder = fileURLToPath(new URL('.', import.meta.url))
  const processes = new Processes(systemClock, tools)
  const bench: Bench = { clock: systemClock, tools, processes, proxyCpu, restCpu, workFolder, folder }
  const interrupted = (): void => {
    void processes.stopAll().then(() => {
      rmSync(workFolder, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    await writeCertificates(path.join(workFolder, 'certificates'), systemClock)
    await startHelpers(bench)
    const results = await allRounds(bench, cells, options)
    return report(cells, results, options, versions(tools))
  } finally {
    await processes.stopAll()
    rmSync(workFolder, { recursive: true, force: true })
  }
}

function compile(): void {
  try {
    build()
  } catch (error) {
    throw new BenchFailure(`npm run build fails: ${error instanceof Error ? error.message : String(error)}`)
  }
}

async function startHelpers(bench: Bench): Promise<void> {
  const backend = startBackend(bench)
  const sink = startSink(bench)
  await bench.processes.ready(`http://127.0.0.1:${port.backend}/`, {}, [backend])
  await bench.processes.ready(`http://127.0.0.1:${port.sink}/`, {}, [sink])
  bench.processes.keepRunning()
}

/** Round by round, each time beginning one cell later, so that no cell always runs at the same moment. */
async function allRounds(bench: Bench, cells: readonly Cell[], options: Options): Promise<Results> {
  const results = new Map<string, Round[]>(cells.map((cell) => [cell.name, []]))
  for (let round = 0; round < options.rounds; round += 1) {
    const from = round % cells.length
    for (const cell of [...cells.slice(from), ...cells.slice(0, from)]) {
      const result = await measure(bench, cell, options)
      results.get(cell.name)?.push(result)
      say(`round ${round + 1} of ${options.rounds}  ${cell.name.padEnd(18)} ${brief(result)}`)
    }
  }
  return results
}

function report(cells: readonly Cell[], results: Results, options: Options, tools: Record<string, string>): number {
  const summaries = summarize(cells, results)
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
  const unknown = names.filter((name) => !everyCell.some((cell) => cell.name === name))
  if (unknown.length > 0) {
    const known = everyCell.map((cell) => cell.name).join(', ')
    throw new BenchFailure(`--cells: no cell is called ${unknown.join(', ')}; there are: ${known}`)
  }
  return everyCell.filter((cell) => names.includes(cell.name))
}

function inGroups(cells: readonly Cell[]): Cell[] {
  return (['plain', 'tls', 'two-hop', 'memory'] as const).flatMap((group) =>
    cells.filter((cell) => cell.group === group),
  )
}

function brief(round: Round): string {
  if (round.requests === 0) return `VOID: ${round.void}`
  const perRequest =
    round.cpuSeconds > 0 ? `${((round.cpuSeconds / round.requests) * 1e6).toFixed(1)} us/request, ` : ''
  const noise = round.noisy ? `, disturbed ${(round.disturbed * 100).toFixed(0)} %` : ''
  const isVoid = round.void === undefined ? '' : `  VOID: ${round.void}`
  return `${perRequest}${(round.requests / round.seconds).toFixed(0)} requests/s${noise}${isVoid}`
}

/** Progress goes to stderr: stdout is the table. */
function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`)
}
