/**
 * Node's own parser (llhttp) as an oracle for ours: we may reject more, never accept more, never frame differently.
 */
import type { BodyDecoder as BodyDecoderType } from '../../src/http1/framing.ts'
import type { findHeadEnd as findHeadEndType } from '../../src/http1/head-end.ts'
import type { Http1Limits } from '../../src/http1/limits.ts'
import type { parseRequestHead as parseType, requestRules as rulesType } from '../../src/http1/request-head.ts'

// Undocumented and deprecated for outsiders; it is what parses for node:http, which is the point.
const { HTTPParser, methods } = (await import('node:_http_common' as string)).default as {
  HTTPParser: new () => LlhttpParser
  methods: readonly string[]
}

interface LlhttpParser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void
  execute(bytes: Buffer): number | Error
  finish(): Error | undefined
  [index: number]: unknown
}

/** What one parser makes of some bytes: the first message only. */
export interface Reading {
  readonly method: string
  readonly url: string
  /** Lower-case names with values, in order. */
  readonly fields: readonly string[]
  /** Latin1. */
  readonly body: string
  /** The message is complete and this many bytes long; undefined: more is expected. */
  readonly bytes: number | undefined
  /** Protocol change: what follows is not framed. */
  readonly upgrade: boolean
}

export type Verdict =
  | { readonly is: 'read'; readonly reading: Reading }
  | { readonly is: 'rejected'; readonly why: string }
  | { readonly is: 'incomplete' }

const kOnHeaders = 1
const kOnHeadersComplete = 2
const kOnBody = 3
const kOnMessageComplete = 4
const REQUEST = 1

export function readWithLlhttp(bytes: Buffer): Verdict {
  const parser = new HTTPParser()
  parser.initialize(REQUEST, {}, 1_000_000, 0)
  let flat: string[] = []
  let method = ''
  let url = ''
  let body = ''
  let complete = false
  let headed = false
  let upgrade = false
  parser[kOnHeaders] = (headers: string[], more: string) => {
    // After the head these are trailers.
    if (headed) return
    flat = flat.concat(headers)
    url += more
  }
  parser[kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    headers: string[] | undefined,
    methodIndex: number,
    target: string | undefined,
    _s: number,
    _m: string,
    isUpgrade: boolean,
  ) => {
    if (headed) return 0
    headed = true
    if (headers !== undefined) flat = flat.concat(headers)
    if (target !== undefined) url += target
    method = methods[methodIndex] ?? '?'
    upgrade = isUpgrade
    return 0
  }
  parser[kOnBody] = (chunk: Buffer) => {
    if (!complete) body += Buffer.from(chunk).toString('latin1')
  }
  parser[kOnMessageComplete] = () => {
    complete = true
  }
  // Byte by byte from where the head may end would be slow; whole input is enough: only the first message counts.
  const result = parser.execute(bytes)
  if (!headed) return result instanceof Error ? { is: 'rejected', why: result.message } : { is: 'incomplete' }
  if (!complete && result instanceof Error) return { is: 'rejected', why: result.message }
  const fields: string[] = []
  for (let i = 0; i < flat.length; i += 2) fields.push(flat[i]!.toLowerCase(), flat[i + 1]!)
  return { is: 'read', reading: { method, url, fields, body, bytes: complete ? -1 : undefined, upgrade } }
}

const RESPONSE = 2

/** The first final answer that llhttp reads whole, the connection ending with the bytes; undefined: it reads none. */
export function readAnswerWithLlhttp(
  bytes: Buffer,
  toHead: boolean,
): { readonly status: number; readonly body: string; readonly names: ReadonlySet<string> } | undefined {
  const parser = new HTTPParser()
  parser.initialize(RESPONSE, {}, 1_000_000, 0)
  let status = 0
  let body = ''
  let whole = false
  let names = new Set<string>()
  const note = (flat: readonly string[]): void => {
    for (let i = 0; i < flat.length; i += 2) names.add(flat[i]!.toLowerCase())
  }
  parser[kOnHeaders] = (headers: string[]) => {
    if (!whole) note(headers)
  }
  parser[kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    headers: string[] | undefined,
    _method: number,
    _target: string | undefined,
    code: number,
  ) => {
    if (whole) return 0
    // Many fields have come before.
    if (headers !== undefined) note(headers)
    status = code
    return toHead ? 1 : 0
  }
  parser[kOnBody] = (chunk: Buffer) => {
    if (!whole) body += Buffer.from(chunk).toString('latin1')
  }
  parser[kOnMessageComplete] = () => {
    if (status >= 200) whole = true
    else names = new Set()
  }
  const result = parser.execute(bytes)
  if (!whole && !(result instanceof Error)) parser.finish()
  return whole ? { status, body, names } : undefined
}

export interface Ours {
  readonly findHeadEnd: typeof findHeadEndType
  readonly parseRequestHead: typeof parseType
  readonly requestRules: typeof rulesType
  readonly BodyDecoder: typeof BodyDecoderType
  readonly http1Limits: Http1Limits
}

/** Loads the parser from a folder, so that a mutated copy can stand in for `src/http1`. */
export async function loadOurs(folder: URL): Promise<Ours> {
  const [headEnd, head, framing, limits] = await Promise.all([
    import(new URL('head-end.ts', folder).href),
    import(new URL('request-head.ts', folder).href),
    import(new URL('framing.ts', folder).href),
    import(new URL('limits.ts', folder).href),
  ])
  return {
    findHeadEnd: headEnd.findHeadEnd,
    parseRequestHead: head.parseRequestHead,
    requestRules: head.requestRules,
    BodyDecoder: framing.BodyDecoder,
    http1Limits: limits.http1Limits,
  }
}

export function readWithOurs(ours: Ours, bytes: Buffer): Verdict {
  const rules = ours.requestRules(ours.http1Limits, { dropReserved: false, allowConnect: true })
  const start = bytes.length >= 2 && bytes[0] === 13 && bytes[1] === 10 ? 2 : 0
  const end = ours.findHeadEnd(bytes, start, start, ours.http1Limits.headBytesMax)
  if (end === -1) return { is: 'rejected', why: 'bare LF' }
  if (end === -2) return { is: 'incomplete' }
  try {
    const { head, bodyLength } = ours.parseRequestHead(bytes.toString('latin1', start, end + 4), end - start, rules)
    let body = ''
    const decoder = new ours.BodyDecoder(
      bodyLength,
      { payload: (chunk) => void (body += chunk.toString('latin1')), ended: () => {} },
      rules,
      ours.http1Limits,
    )
    const used = decoder.push(bytes, end + 4)
    const fields = head.headers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text))
    return {
      is: 'read',
      reading: {
        method: head.method,
        url: head.target,
        fields,
        body,
        bytes: decoder.done ? used : undefined,
        upgrade: head.upgrade !== undefined || head.method === 'CONNECT',
      },
    }
  } catch (error) {
    return { is: 'rejected', why: error instanceof Error ? error.message : String(error) }
  }
}

const known = new Set(methods)
/** Fields that ours keeps for itself; the rest must be the same in both. */
const engineFields = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'upgrade',
  'expect',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'http2-settings',
])

/** What is wrong between the two readings of some bytes; undefined if nothing is. */
export function disagreement(ours: Ours, bytes: Buffer): string | undefined {
  const mine = readWithOurs(ours, bytes)
  if (mine.is !== 'read') return undefined
  const { reading } = mine
  // The one exception to "never accept more": methods that llhttp has no name for are tokens all the same.
  if (!known.has(reading.method)) return undefined
  const theirs = readWithLlhttp(bytes)
  if (theirs.is === 'rejected') {
    return reading.bytes === undefined && reading.body === ''
      ? undefined
      : `ours accepts what llhttp rejects (${theirs.why})`
  }
  if (theirs.is === 'incomplete') return 'ours sees a head where llhttp waits for more'
  const other = theirs.reading
  if (reading.method !== other.method) return `method ${reading.method} / ${other.method}`
  const nominated = new Set(
    other.fields
      .flatMap((text, i) => (other.fields[i - 1] === 'connection' && i % 2 === 1 ? text.toLowerCase().split(',') : []))
      .map((t) => t.trim()),
  )
  const kept: string[] = []
  for (let i = 0; i < other.fields.length; i += 2) {
    const name = other.fields[i]!
    if (!engineFields.has(name) && !nominated.has(name)) kept.push(name, other.fields[i + 1]!.replace(/[ \t]+$/, ''))
  }
  if (kept.join('\n') !== reading.fields.join('\n'))
    return `fields ${JSON.stringify(reading.fields)} / ${JSON.stringify(kept)}`
  // llhttp stops framing at an upgrade that it sees; whether there is one is ours to decide more strictly.
  if (other.upgrade || reading.upgrade) return undefined
  if ((reading.bytes === undefined) !== (other.bytes === undefined))
    return `one sees the end of the message, the other does not`
  if (reading.body !== other.body) return `body ${JSON.stringify(reading.body)} / ${JSON.stringify(other.body)}`
  return undefined
}
