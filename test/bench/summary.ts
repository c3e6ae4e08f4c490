/** From rounds to medians and ratios. Pure. */
import type { Cell, Group, Peer } from './cell.ts'
import type { Figures, Round } from './round.ts'

/** Median of the rounds, and the extremes. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export type Spreads = Readonly<Record<string, Spread>>

export interface Summary {
  readonly name: string
  readonly group: Group
  readonly about: string
  /** By figure. Empty, like the ratios, when every round is void. */
  readonly figures: Spreads
  /** Each figure over the peer's, round by round. */
  readonly ratios: Readonly<Partial<Record<Peer, Spreads>>>
  readonly noisyRounds: number
  readonly void: readonly string[]
  readonly note: string | undefined
}

export type Results = ReadonlyMap<string, readonly Round[]>

export function summarize(cells: readonly Cell[], measured: Results): Summary[] {
  const results = new Map(measured)
  for (const cell of cells) results.set(cell.name, withAdded(cell, measured))
  return cells.map((cell) => {
    const rounds = results.get(cell.name) ?? []
    const valid = rounds.filter(isValid)
    const peers = Object.entries(cell.peers ?? {}) as [Peer, string][]
    return {
      name: cell.name,
      group: cell.group,
      about: cell.about,
      figures: spreads(valid.map((round) => round.figures)),
      ratios: Object.fromEntries(peers.map(([peer, name]) => [peer, ratios(rounds, results.get(name) ?? [])])),
      noisyRounds: valid.filter((round) => round.noisy).length,
      void: rounds.flatMap((round, i) => (round.void === undefined ? [] : [`round ${i + 1}: ${round.void}`])),
      note: cell.note,
    }
  })
}

/**
 * `addedX` for each figure X that cell and baseline have: what the proxy adds. It is a difference of two quantiles, not a
 * quantile of differences, which nobody can measure.
 */
function withAdded(cell: Cell, results: Results): readonly Round[] {
  const rounds = results.get(cell.name) ?? []
  if (cell.baseline === undefined) return rounds
  const baselines = results.get(cell.baseline) ?? []
  return rounds.map((round, i) => {
    const baseline = baselines[i]
    if (baseline === undefined || !isValid(baseline)) return round
    const added = Object.entries(round.figures).flatMap(([name, value]) => {
      const without = baseline.figures[name]
      return without === undefined ? [] : [[`added-${name}`, value - without]]
    })
    return { ...round, figures: { ...round.figures, ...Object.fromEntries(added) } }
  })
}

/** Rounds are paired: what disturbed the machine in one round disturbed both. */
function ratios(ours: readonly Round[], theirs: readonly Round[]): Spreads {
  return spreads(
    ours.flatMap((round, i) => {
      const their = theirs[i]
      if (their === undefined || !isValid(round) || !isValid(their)) return []
      const shared = Object.entries(round.figures).filter(([name]) => their.figures[name] !== undefined)
      return [Object.fromEntries(shared.map(([name, value]) => [name, value / their.figures[name]!]))]
    }),
  )
}

function spreads(rounds: readonly Figures[]): Spreads {
  const names = new Set(rounds.flatMap((figures) => Object.keys(figures)))
  return Object.fromEntries(
    [...names].flatMap((name) => {
      const all = spread(rounds.flatMap((figures) => figures[name] ?? []))
      return all === undefined ? [] : [[name, all]]
    }),
  )
}

function isValid(round: Round): boolean {
  return round.void === undefined
}

/** Undefined for no values. An even count has the mean of its two middle values as its median. */
export function spread(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (min === undefined || max === undefined) return undefined
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return { median: ((low ?? min) + (high ?? max)) / 2, min, max }
}
