import type { TrafficRow } from './traffic-rows.ts'

/** `12:03:59` of this machine's time zone. */
export function clockTime(wallMs: number): string {
  return new Date(wallMs).toTimeString().slice(0, 8)
}

/** Names without the namespace that all of them share: `shop/web` -> `web`. */
export function shortNames(rows: readonly TrafficRow[]): (name: string) => string {
  const namespaces = new Set(
    rows.flatMap(({ from, to }) => [from, to]).flatMap((name) => (name.includes('/') ? [name.split('/')[0]] : [])),
  )
  return namespaces.size === 1 ? (name) => name.split('/').at(-1) ?? name : (name) => name
}

/** `99.4` or `100`; a dash where there was nothing. */
export function percentText(value: number | undefined): string {
  if (value === undefined) return '-'
  return value === 100 ? '100' : value.toFixed(1)
}

/** `4.2`, `340`; a dash where there was nothing. */
export function msText(value: number | undefined): string {
  if (value === undefined) return '-'
  return value < 100 ? value.toFixed(1) : value.toFixed(0)
}
