/** `npm run bench -- control-plane`. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { systemClock } from '../../../src/base/clock.ts'
import { build } from '../../build.ts'
import { judgeControlPlane } from '../goals.ts'
import { port } from '../ports.ts'
import { Processes, requireFreePorts } from '../processes.ts'
import { findTaskset, machine, twoCpus } from '../tools.ts'
import { modelFigures } from './model-figures.ts'
import { readControlPlaneOptions, usage } from './options.ts'
import { controlPlaneReport } from './report.ts'
import { runControlPlane } from './run.ts'

const largeMesh = { pods: 10_000, services: 1_000 } as const

/** Resolves with the exit code. Throws a BenchFailure when something keeps it from measuring. */
export async function controlPlane(args: readonly string[]): Promise<number> {
  const options = readControlPlaneOptions(args)
  if (options.help) {
    process.stdout.write(usage)
    return 0
  }
  const { taskset } = findTaskset()
  const [cpu, restCpu] = twoCpus()
  await requireFreePorts([port.control, port.controlAdmin])
  if (options.build) {
    say('building dist/')
    build()
  }
  // This process is the sidecars: all its threads leave the control plane's CPU.
  execFileSync(taskset, ['-a', '-c', '-p', String(restCpu), String(process.pid)])
  const workFolder = mkdtempSync(path.join(tmpdir(), 'outrigger-bench-'))
  const processes = new Processes(systemClock, { taskset })
  const interrupted = (): void => {
    void processes.stopAll().then(() => {
      rmSync(workFolder, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    const figures = await runControlPlane({ clock: systemClock, processes, options, cpu, workFolder, say })
    const model = options.model ? await modelFigures(taskset, cpu, largeMesh.pods, largeMesh.services) : undefined
    const verdicts = judgeControlPlane({ ...figures, changeP99Ms: figures.changes.all.p99 })
    process.stdout.write(controlPlaneReport(figures, model, verdicts))
    if (options.json !== undefined) {
      const date = new Date(systemClock.wall()).toISOString()
      const document = { date, machine: machine(), node: process.version, options, figures, model, verdicts }
      writeFileSync(options.json, `${JSON.stringify(document, undefined, 2)}\n`)
    }
    return verdicts.every((verdict) => verdict.met) ? 0 : 1
  } finally {
    await processes.stopAll()
    rmSync(workFolder, { recursive: true, force: true })
  }
}

/** Progress goes to stderr: stdout is the report. */
function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`)
}
