/** What one round of one cell brought: figures by name, in base units. */
export type Figures = Readonly<Record<string, number>>

/** What a protocol hands back. */
export interface Outcome {
  readonly figures: Figures
  /** Share of the time in which anything else ran on the proxy's CPU. */
  readonly disturbed: number
  /** Why the figures must not be used; empty when they may. */
  readonly reasons: readonly string[]
}

export interface Round extends Omit<Outcome, 'reasons'> {
  readonly noisy: boolean
  /** Why its figures must not be used. */
  readonly void: string | undefined
}

/** CPU time of others on the proxy's CPU, as a share of the window, from which a round is marked. */
const noisyShare = 0.05

export function roundOf({ figures, disturbed, reasons }: Outcome): Round {
  return { figures, disturbed, noisy: disturbed > noisyShare, void: reasons.join('; ') || undefined }
}

export function voidRound(reason: string): Round {
  return { figures: {}, disturbed: 0, noisy: false, void: reason }
}
