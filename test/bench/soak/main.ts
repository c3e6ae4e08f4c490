/** `npm run bench -- soak`. */
import { writeFileSync } from 'node:fs'
import { styleText } from 'node:util'
import { systemClock } from '../../../src/base/clock.ts'
import { startBackend, startSink } from '../helpers.ts'
import { withBench } from '../session.ts'
import { machine } from '../tools.ts'
import { readSoakOptions, soakUsage } from './options.ts'
import { judged, soak } from './run.ts'
import { judgeSoak } from './verdicts.ts'

/** Resolves with the exit code. Throws a BenchFailure when something keeps it from running. */
export async function soakMain(args: readonly string[], say: (line: string) => void): Promise<number> {
  const options = readSoakOptions(args)
  if (options.help) {
    process.stdout.write(soakUsage)
    return 0
  }
  return withBench(options.build, say, async (bench) => {
    startBackend(bench)
    startSink(bench)
    const result = await soak(bench, options, say)
    const verdicts = judgeSoak(result, judged)
    const lines = verdicts.map(({ says, met }) =>
      styleText(met ? 'green' : 'red', `  ${met ? 'met   ' : 'MISSED'} ${says}`),
    )
    const title = `soak: ${options.minutes} minutes at ${options.perSecond} requests/s, a change of policy every second`
    process.stdout.write(`${[styleText('bold', title), ...lines].join('\n')}\n`)
    if (options.json !== undefined) {
      const date = new Date(systemClock.wall()).toISOString()
      writeFileSync(
        options.json,
        `${JSON.stringify({ date, machine: machine(), options, result, verdicts }, undefined, 2)}\n`,
      )
    }
    return verdicts.every(({ met }) => met) ? 0 : 1
  })
}
