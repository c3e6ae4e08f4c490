const charactersMax = 60

/** What a person wrote, as a message shows it: text in quotes, and never more than a line of it. */
export function quote(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > charactersMax ? `${value.slice(0, charactersMax)}...` : value)
  }
  if (value === null) return 'no value'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'a map' : String(value as number | boolean | undefined)
}
