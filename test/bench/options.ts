import { parseArgs } from 'node:util'
import { BenchFailure } from './failure.ts'

export interface Options {
  /** Names of cells or groups; undefined = all. */
  readonly cells: readonly string[] | undefined
  /** These four: what the group says (groups.ts) where undefined. */
  readonly seconds: number | undefined
  readonly warmupSeconds: number | undefined
  readonly rounds: number | undefined
  readonly connections: number | undefined
  readonly json: string | undefined
  readonly build: boolean
  readonly gate: boolean
  readonly help: boolean
}

export const usage = `Usage: npm run bench -- [OPTIONS]
       npm run bench -- control-plane [OPTIONS]   (its own --help)
       npm run bench -- soak [OPTIONS]            (its own --help)

Compares Outrigger with Envoy, HAProxy, nginx, http-proxy-3 and fast-proxy on this machine.
The protocol stands in test/bench/README.md. Exit code 1: something is missing, or a cell is void.

  --cells a,b        only these cells, or all of these groups (default: all)
  --seconds N        length of a measured window, instead of what each group has
  --warmup N         length of the warm-up before it
  --rounds N         how often each cell runs, interleaved
  --connections N    keep-alive connections of the generator
  --json FILE        also write every figure of every round to FILE
  --no-build         use dist/ as it is instead of building it first
  --gate             also exit 1 when a goal is missed
  --help             this text

Cells by group:
`

/** Throws a BenchFailure that names the flag. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parse(args)
  return {
    cells: values.cells?.split(',').map((name) => name.trim()),
    seconds: optional('seconds', values.seconds),
    warmupSeconds: optional('warmup', values.warmup),
    rounds: optional('rounds', values.rounds),
    connections: optional('connections', values.connections),
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
        seconds: { type: 'string' },
        warmup: { type: 'string' },
        rounds: { type: 'string' },
        connections: { type: 'string' },
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

function optional(flag: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : whole(flag, text, 1)
}

/** Throws a BenchFailure that names the flag. */
export function whole(flag: string, text: string, min: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min) {
    throw new BenchFailure(`--${flag} takes a whole number from ${min} up, not '${text}'`)
  }
  return value
}
