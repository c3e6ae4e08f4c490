const charactersMax = 64

/**
 * The candidate that was probably meant, or undefined: the same words in another order or case
 * (`maxConnections` for `connectionsMax`), else the one within a third of the word's length in edits.
 */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  if (word === '' || word.length > charactersMax) return undefined
  const words = wordsOf(word)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    if (candidate.length > charactersMax || candidate === word) continue
    if (wordsOf(candidate) === words) return candidate
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function wordsOf(name: string): string {
  return name
    .split(/(?<=[a-z0-9])(?=[A-Z])|[-_. ]/)
    .map((word) => word.toLowerCase())
    .sort()
    .join(' ')
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1)
      row.push(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}
