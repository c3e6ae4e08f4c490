/** Percent, as people write shares, to parts per million, as the sidecar draws them. */
export function ppm(percent: number): number {
  return Math.round(percent * 10_000)
}
