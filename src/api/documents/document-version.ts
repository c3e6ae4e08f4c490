import { createHash } from 'node:crypto'

/**
 * Version of a document: metadata.generation where the API server has set one, else 8 hex digits over what it
 * says. Comments, order of keys, and what the API server notes beside (status, managedFields) do not count.
 */
export function documentVersion(value: Readonly<Record<string, unknown>>): string {
  const metadata = asRecord(value['metadata'])
  const generation = metadata['generation']
  if (typeof generation === 'number' && generation > 0) return String(generation)
  const { status: _, metadata: __, ...said } = value
  const { name, namespace, labels, annotations } = metadata
  const text = canonical({ ...said, metadata: { name, namespace, labels, annotations } })
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join()}}`
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}
