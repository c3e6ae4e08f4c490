import { parseArgs } from 'node:util'
import { BenchFailure } from '../failure.ts'
import { whole } from '../options.ts'

export interface SoakOptions {
  readonly minutes: number
  readonly perSecond: number
  readonly json: string | undefined
  readonly build: boolean
  readonly help: boolean
}

export const soakUsage = `Usage: npm run bench -- soak [OPTIONS]

Requests at a fixed rate through two sidecars with mTLS between them, a change of policy every second, and at the end: no
request failed, memory and handles did not grow. Exit code 1: they did. The protocol stands in test/bench/README.md.

  --minutes N        how long (30); the slope of a run of a few minutes says little
  --rate N           requests a second (1000)
  --json FILE        also write every sample to FILE
  --no-build         use dist/ as it is instead of building it first
  --help             this text
`

/** Throws a BenchFailure that names the flag. */
export function readSoakOptions(args: readonly string[]): SoakOptions {
  const { values } = parse(args)
  return {
    minutes: whole('minutes', values.minutes, 1),
    perSecond: whole('rate', values.rate, 1),
    json: values.json,
    build: !values['no-build'],
    help: values.help,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string', default: '30' },
        rate: { type: 'string', default: '1000' },
        json: { type: 'string' },
        'no-build': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new BenchFailure(`${message} (npm run bench -- soak --help)`)
  }
}
