import type { Headers } from './exchange.ts'

/**
 * First value of a field, by its lower-case name; undefined if it is not there. Field names are compared without
 * case (RFC 9110 section 5.1).
 */
export function headerValue(headers: Headers, lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (sameName(headers[i]!, lowerName)) return headers[i + 1]
  }
  return undefined
}

/** Replaces every field of that name by one, at the place of the first; appends it if there was none. */
export function setHeader(headers: Headers, name: string, value: string): void {
  const lowerName = name.toLowerCase()
  let found = false
  let to = 0
  for (let i = 0; i < headers.length; i += 2) {
    const isIt = sameName(headers[i]!, lowerName)
    if (isIt && found) continue
    headers[to] = isIt ? name : headers[i]!
    headers[to + 1] = isIt ? value : headers[i + 1]!
    found ||= isIt
    to += 2
  }
  headers.length = to
  if (!found) headers.push(name, value)
}

/** Appends to a field that is a list; several fields of that name become one (RFC 9110 section 5.3). */
export function addToList(headers: Headers, lowerName: string, value: string): void {
  const items: string[] = []
  for (let i = 0; i < headers.length; i += 2) if (sameName(headers[i]!, lowerName)) items.push(headers[i + 1]!)
  setHeader(headers, lowerName, [...items, value].filter((item) => item !== '').join(', '))
}

/** Removes every field of that lower-case name. */
export function removeHeader(headers: Headers, lowerName: string): void {
  let to = 0
  for (let i = 0; i < headers.length; i += 2) {
    if (sameName(headers[i]!, lowerName)) continue
    headers[to] = headers[i]!
    headers[to + 1] = headers[i + 1]!
    to += 2
  }
  headers.length = to
}

/** Whether a field name, as received, is that lower-case name. */
export function sameName(name: string, lowerName: string): boolean {
  return name.length === lowerName.length && (name === lowerName || name.toLowerCase() === lowerName)
}
