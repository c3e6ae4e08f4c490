/** What a command of the bench stands on: the programs, the CPUs, the ports, a folder; and their end, however it comes. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../src/base/clock.ts'
import { build } from '../build.ts'
import type { Bench } from './cell.ts'
import { BenchFailure } from './failure.ts'
import { everyPort } from './ports.ts'
import { Processes, requireFreePorts } from './processes.ts'
import { findTools, twoCpus } from './tools.ts'

/** Runs `work` with a bench and stops all that it started. Throws a BenchFailure for what is missing. */
export async function withBench<T>(
  compile: boolean,
  say: (line: string) => void,
  work: (bench: Bench) => Promise<T>,
): Promise<T> {
  const tools = findTools()
  const [proxyCpu, restCpu] = twoCpus()
  await requireFreePorts(everyPort)
  if (compile) {
    say('building dist/')
    buildOrFail()
  }
  // What this process does must not disturb the proxy: all its threads leave its CPU.
  execFileSync(tools.taskset, ['-a', '-c', '-p', String(restCpu), String(process.pid)])
  const workFolder = mkdtempSync(path.join(tmpdir(), 'outrigger-bench-'))
  const folder = fileURLToPath(new URL('.', import.meta.url))
  const processes = new Processes(systemClock, tools)
  const interrupted = (): void => {
    void processes.stopAll().then(() => {
      rmSync(workFolder, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    return await work({ clock: systemClock, tools, processes, proxyCpu, restCpu, workFolder, folder })
  } finally {
    await processes.stopAll()
    rmSync(workFolder, { recursive: true, force: true })
  }
}

function buildOrFail(): void {
  try {
    build()
  } catch (error) {
    throw new BenchFailure(`npm run build fails: ${error instanceof Error ? error.message : String(error)}`)
  }
}
