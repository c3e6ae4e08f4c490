import { parseArgs } from 'node:util'
import { BenchFailure } from './failure.ts'

export interface Options {
  /** Names of cells; undefined = all. */
  readonly cells: readonly string[] | undefined
  readonly seconds: number
  readonly warmupSeconds: number
  readonly rounds: number
  readonly connections: number
  readonly json: string | undefined
  readonly build: boolean
  readonly gate: boolean
  readonly help: boolean
}

export const usage = `Usage: npm run bench -- [OPTIONS]
       npm run bench -- control-plane [OPTIONS]   (its own --help)

Compares Outrigger with Envoy, HAProxy, nginx, http-proxy-3 and fast-proxy on this machine.
The protocol stands in test/bench/README.md. Exit code 1: something is missing, or a cell is void.

  --cells a,b        only these cells (default: all)
  --seconds N        length of a measured window (10)
  --warmup N         length of the warm-up before it (5)
  --rounds N         how often each cell runs, interleaved (3)
  --connections N    keep-alive connections of the generator (50)
  --json FILE        also write every figure of every round to FILE
  --no-build         use dist/ as it is instead of building it first
  --gate             also exit 1 when a goal is missed
  --help             this text

Cells:
`

/** Throws a BenchFailure that names the flag. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parse(args)
  return {
    cells: values.cells?.split(',').map((name) => name.trim()),
    seconds: whole('seconds', values.seconds, 1),
    warmupSeconds: whole('warmup', values.warmup, 1),
    rounds: whole('rounds', values.rounds, 1),
    connections: whole('connections', values.connections, 1),
    json: values.json,
    build: !values['no-build'],
    gate: values.gate,
    help: values.help,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        cells: { type: 'string' },
        seconds: { type: 'string', default: '10' },
        warmup: { type: 'string', default: '5' },
        rounds: { type: 'string', default: '3' },
        connections: { type: 'string', default: '50' },
        json: { type: 'string' },
        'no-build': { type: 'boolean', default: false },
        gate: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new BenchFailure(`${error instanceof Error ? error.message : String(error)} (npm run bench -- --help)`)
  }
}

/** Throws a BenchFailure that names the flag. */
export function whole(flag: string, text: string, min: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min) {
    throw new BenchFailure(`--${flag} takes a whole number from ${min} up, not '${text}'`)
  }
  return value
}
