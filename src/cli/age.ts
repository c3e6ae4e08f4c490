/** `45s`, `12m`, `5h`, `3d`: one unit is enough for people. */
export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000))
  if (s < 90) return `${s}s`
  if (s < 5_400) return `${Math.round(s / 60)}m`
  return s < 172_800 ? `${Math.round(s / 3_600)}h` : `${Math.round(s / 86_400)}d`
}
