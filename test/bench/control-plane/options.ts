import { parseArgs } from 'node:util'
import { BenchFailure } from '../failure.ts'
import { whole } from '../options.ts'

export interface ControlPlaneOptions {
  /** And as many Pods. */
  readonly sidecars: number
  readonly services: number
  readonly changes: number
  readonly seconds: number
  readonly model: boolean
  readonly json: string | undefined
  readonly build: boolean
  readonly help: boolean
}

export const usage = `Usage: npm run bench -- control-plane [OPTIONS]

One control plane on one CPU, a thousand simulated sidecars on the other: enrolment, connections, changes of policy, a
rolling restart, storms. What is measured stands in test/bench/README.md. Exit code 1: a goal is missed.

  --sidecars N       sidecars, and Pods of the mesh (1000); one Service for every ten
  --changes N        timed changes (150); the p99 of fewer than 100 is their maximum
  --seconds N        time at rest, and half of that of the rolling restart (10)
  --no-model         leave out the mesh of 10,000 Pods
  --json FILE        also write every figure to FILE
  --no-build         use dist/ as it is instead of building it first
  --help             this text
`

const podsPerService = 10

/** Throws a BenchFailure that names the flag. */
export function readControlPlaneOptions(args: readonly string[]): ControlPlaneOptions {
  const { values } = parse(args)
  const sidecars = whole('sidecars', values.sidecars, 200)
  return {
    sidecars,
    services: Math.floor(sidecars / podsPerService),
    changes: whole('changes', values.changes, 3),
    seconds: whole('seconds', values.seconds, 1),
    model: !values['no-model'],
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
        sidecars: { type: 'string', default: '1000' },
        changes: { type: 'string', default: '150' },
        seconds: { type: 'string', default: '10' },
        'no-model': { type: 'boolean', default: false },
        json: { type: 'string' },
        'no-build': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new BenchFailure(`${message} (npm run bench -- control-plane --help)`)
  }
}
