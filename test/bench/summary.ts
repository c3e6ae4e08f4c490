/** From rounds to medians and ratios. Pure. */
import type { Cell, Group } from './cell.ts'
import type { Round } from './measure.ts'

/** Median of the rounds, and the extremes. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export interface Summary {
  readonly name: string
  readonly group: Group
  readonly about: string
  /** Undefined, like all that follow, when every round is void. */
  readonly requestsPerSecond: Spread | undefined
  /** Undefined where nothing is measured (direct). */
  readonly cpuUsPerRequest: Spread | undefined
  readonly requestsPerCpuSecond: Spread | undefined
  readonly rssBytes: Spread | undefined
  readonly ussBytes: Spread | undefined
  readonly busy: number
  readonly noisyRounds: number
  /** Requests per CPU-second over the peer's; in the memory group RSS over the peer's. Round by round. */
  readonly toEnvoy: Spread | undefined
  readonly toHttpProxy3: Spread | undefined
  readonly void: readonly string[]
}

export type Results = ReadonlyMap<string, readonly Round[]>

export function summarize(cells: readonly Cell[], results: Results): Summary[] {
  return cells.map((cell) => {
    const all = results.get(cell.name) ?? []
    const rounds = all.filter(isValid)
    const measured = cell.name === 'direct' ? [] : rounds
    return {
      name: cell.name,
      group: cell.group,
      about: cell.about,
      requestsPerSecond: spread(rounds.map((round) => round.requests / round.seconds)),
      cpuUsPerRequest: spread(measured.map((round) => (round.cpuSeconds / round.requests) * 1e6)),
      requestsPerCpuSecond: spread(measured.map(perCpuSecond)),
      rssBytes: spread(measured.map((round) => round.rssBytes)),
      ussBytes: spread(measured.map((round) => round.ussBytes)),
      busy: spread(measured.map((round) => round.busy))?.median ?? 0,
      noisyRounds: rounds.filter((round) => round.noisy).length,
      toEnvoy: ratio(cell, cell.envoy, results),
      toHttpProxy3: ratio(cell, cell.httpProxy3, results),
      void: all.flatMap((round, i) => (round.void === undefined ? [] : [`round ${i + 1}: ${round.void}`])),
    }
  })
}

/** Rounds are paired: what disturbed the machine in one round disturbed both. */
function ratio(cell: Cell, other: string | undefined, results: Results): Spread | undefined {
  const [ours, theirs] = [results.get(cell.name) ?? [], results.get(other ?? '') ?? []]
  const value = (round: Round): number => (cell.group === 'memory' ? round.rssBytes : perCpuSecond(round))
  const pairs = ours.flatMap((round, i) => {
    const their = theirs[i]
    return their !== undefined && isValid(round) && isValid(their) ? [value(round) / value(their)] : []
  })
  return spread(pairs)
}

function isValid(round: Round): boolean {
  return round.void === undefined
}

function perCpuSecond(round: Round): number {
  return round.requests / round.cpuSeconds
}

/** Undefined for no values. An even count has the mean of its two middle values as its median. */
export function spread(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (min === undefined || max === undefined) return undefined
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return { median: ((low ?? min) + (high ?? max)) / 2, min, max }
}
