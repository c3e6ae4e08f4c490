/** The part of the API server's validation that a structural schema states, rules of CEL left out. */
type Schema = Readonly<Record<string, unknown>>

/** `PATH: what`, one line each; also what the API server would refuse as an unknown field. */
export function structuralFaults(schema: Schema, value: unknown, path = ''): string[] {
  const type = schema['type'] as string
  if (!isOf(type, value)) return [`${path}: not of type ${type}`]
  const faults = valueFaults(schema, value).map((fault) => `${path}: ${fault}`)
  if (Array.isArray(value)) {
    const items = schema['items'] as Schema
    return [...faults, ...value.flatMap((item, at) => structuralFaults(items, item, `${path}[${at}]`))]
  }
  if (typeof value !== 'object' || value === null) return faults
  const fields = schema['properties'] as Readonly<Record<string, Schema>> | undefined
  const others = schema['additionalProperties'] as Schema | undefined
  for (const name of (schema['required'] ?? []) as string[])
    if (!Object.hasOwn(value, name)) faults.push(`${path}.${name}: missing`)
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue
    const inner = fields !== undefined && Object.hasOwn(fields, name) ? fields[name] : others
    if (inner !== undefined) faults.push(...structuralFaults(inner, field, `${path}.${name}`))
    else if (fields !== undefined) faults.push(`${path}.${name}: unknown field`)
  }
  return faults
}

function isOf(type: string, value: unknown): boolean {
  switch (type) {
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
    case 'array':
      return Array.isArray(value)
    case 'integer':
      return Number.isInteger(value)
    default:
      return typeof value === type
  }
}

function valueFaults(schema: Schema, value: unknown): string[] {
  const limit = (keyword: string): number | undefined => schema[keyword] as number | undefined
  const faults: string[] = []
  const options = schema['enum'] as unknown[] | undefined
  if (options !== undefined && !options.includes(value)) faults.push('not one of the options')
  if (typeof value === 'number') {
    if (value < (limit('minimum') ?? value)) faults.push('too small')
    if (value > (limit('maximum') ?? value)) faults.push('too large')
  }
  if (typeof value === 'string' || Array.isArray(value)) {
    const [least, most] = typeof value === 'string' ? ['minLength', 'maxLength'] : ['minItems', 'maxItems']
    if (value.length < (limit(least!) ?? 0)) faults.push('too short')
    if (value.length > (limit(most!) ?? Infinity)) faults.push('too long')
  }
  if (typeof value === 'string' && schema['pattern'] !== undefined) {
    if (!new RegExp(schema['pattern'] as string).test(value)) faults.push(`does not match ${String(schema['pattern'])}`)
  }
  if (typeof value === 'object' && value !== null && Object.keys(value).length > (limit('maxProperties') ?? Infinity))
    faults.push('too many fields')
  return faults
}
