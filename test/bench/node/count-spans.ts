/** How many spans an encoded ExportTraceServiceRequest holds (opentelemetry-proto: resource_spans = 1,
 * scope_spans = 2, spans = 2). Walks the wire format and decodes nothing. */
export function countSpans(message: Uint8Array): number {
  return count(message, [1, 2, 2])
}

function count(message: Uint8Array, path: readonly number[]): number {
  const [wanted, ...rest] = path
  if (wanted === undefined) return 1
  let total = 0
  for (const [field, bytes] of lengthDelimited(message)) if (field === wanted) total += count(bytes, rest)
  return total
}

/** The length-delimited fields of a message, in order; other wire types are skipped. */
function* lengthDelimited(message: Uint8Array): Generator<[number, Uint8Array]> {
  let at = 0
  function varint(): number {
    let value = 0
    for (let shift = 1; ; shift *= 128) {
      const byte = message[at++]
      if (byte === undefined) throw new RangeError('OTLP message ends inside a number')
      value += (byte & 127) * shift
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const key = varint()
    const wireType = key % 8
    if (wireType === 0) varint()
    else if (wireType === 1) at += 8
    else if (wireType === 5) at += 4
    else if (wireType === 2) {
      const length = varint()
      if (at + length > message.length) throw new RangeError('OTLP message ends inside a field')
      yield [Math.floor(key / 8), message.subarray(at, at + length)]
      at += length
    } else throw new RangeError(`OTLP message has wire type ${wireType}`)
  }
}
