// Field types that several kinds share. Each carries the message that its user will read.
import { isIP } from 'node:net'
import { RE2JS } from 're2js'
import { z } from 'zod'
import { admission, rawText } from './admission.ts'
import { durationMs, durationMsMax, isDuration } from './duration.ts'
import { quote } from './quote.ts'

/** Longest regular expression, in characters. */
export const regexCharactersMax = 1024

/**
 * Largest regular expression, in instructions of the compiled program (Envoy: re2.max_program_size). Matching takes
 * time in proportion to instructions times characters: `\p{L}{0,1000}` seventy times over has 140,000 of them and
 * took two minutes for one header of 4,000 characters.
 */
export const regexInstructionsMax = 1000

/** GEP-2257 duration as text; `durationMs` turns it into a number. */
export function duration() {
  const schema = z.string().check(
    z.superRefine<string>((text, context) => {
      if (!isDuration(text)) {
        context.addIssue({ code: 'custom', message: durationMessage(text), params: { expected: durationExpected } })
      } else if (durationMs(text) > durationMsMax) {
        context.addIssue({ code: 'custom', message: `${quote(text)} is longer than the longest duration, 1193h` })
      }
    }),
    z.meta({ format: 'duration-gep2257', pattern: durationPattern, maxLength: durationCharactersMax }),
  )
  admission.add(schema, { rules: [notTooLong] })
  return schema
}

/** Like `duration`, but zero has no meaning for the field. */
export function positiveDuration() {
  const schema = duration().check(
    z.superRefine<string>((text, context) => {
      if (isDuration(text) && durationMs(text) === 0) {
        context.addIssue({ code: 'custom', message: 'must be longer than zero', params: { expected: 'at least 1ms' } })
      }
    }),
  )
  admission.add(schema, { rules: [notTooLong, longerThanZero] })
  return schema
}

const durationPattern = '^([0-9]{1,5}(h|m|s|ms)){1,4}$'
/** Four times five digits and `ms`. */
const durationCharactersMax = 28

/** What is no duration at all fails the pattern: one problem, not two. */
export function ofDurations(rule: string, ...texts: readonly string[]): string {
  return [...texts.map((text) => `!${text}.matches(${rawText(durationPattern)})`), rule].join(' || ')
}

const notTooLong = {
  rule: ofDurations(`duration(self) <= duration('${durationMsMax}ms')`, 'self'),
  message: 'longer than the longest duration, 1193h',
}

const longerThanZero = {
  rule: ofDurations("duration(self) > duration('0s')", 'self'),
  message: 'must be longer than zero: at least 1ms',
}

const durationExpected = 'a duration such as 250ms, 1m30s or 2h (h, m, s and ms, whole numbers, at most 5 digits)'

function durationMessage(text: string): string {
  if (/^[0-9]+$/.test(text)) return `${quote(text)} has no unit`
  return `${quote(text)} is not a duration`
}

/** Why the pattern is refused, or undefined when the linear engine takes it. */
export function regexFault(pattern: string, charactersMax = regexCharactersMax): string | undefined {
  if (pattern.length > charactersMax) {
    return `regular expression of ${pattern.length} characters; at most ${charactersMax} are accepted`
  }
  try {
    const size = RE2JS.compile(pattern).programSize()
    if (size <= regexInstructionsMax) return undefined
    return `regular expression too costly: ${size} instructions; at most ${regexInstructionsMax} (repeats such as {0,1000} make many)`
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error)
    return `regular expression refused: ${reason} (RE2 syntax: no back-references, no look-around)`
  }
}

const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** Name of a document: RFC 1123 subdomain, as Kubernetes has it. */
export function objectName() {
  return z
    .string()
    .min(1)
    .max(253)
    .regex(dnsSubdomain, {
      error: (issue) => `${quote(issue.input)} is not a name: lower-case letters, digits, "-" and "."`,
    })
}

/** Namespace: RFC 1123 label. */
export function namespaceName() {
  return z
    .string()
    .min(1)
    .max(63)
    .regex(dnsLabel, {
      error: (issue) => `${quote(issue.input)} is not a namespace: lower-case letters, digits and "-"`,
    })
}

/** TCP port that a peer can dial. */
export function port() {
  return z.int().min(1).max(65_535)
}

/** Share of requests in percent; fractions count, to a ten-thousandth of a percent. */
export function percentage() {
  return z.number().min(0).max(100)
}

/** Label or annotation map. */
export function stringMap() {
  return z.record(z.string(), z.string())
}

/** Method, header or cookie name: RFC 9110 token. */
export const token = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/

/** Header name, compared without case. */
export function headerName() {
  return z
    .string()
    .min(1)
    .max(256)
    .regex(token, { error: (issue) => `${quote(issue.input)} is not a header name (RFC 9110 token)` })
}

/** Header value. Line ends and NUL would split the head, so they are refused here and not only by the engine. */
export function headerValue() {
  return z
    .string()
    .min(1)
    .max(4096)
    .regex(/^(?:\t|\P{Cc})*$/u, { error: 'a header value cannot hold control characters' })
}

/** Host name without wildcard and port. */
export function preciseHostname() {
  return z
    .string()
    .min(1)
    .max(253)
    .regex(dnsSubdomain, { error: (issue) => `${quote(issue.input)} is not a host name` })
}

/** IP address or CIDR block. */
export function ipBlock() {
  const schema = z.string().refine(isIpBlock, {
    error: (issue) => `${quote(issue.input)} is not an address or block such as 10.0.0.0/8, 192.0.2.7 or fd00::/8`,
  })
  admission.add(schema, { schema: { anyOf: [{ format: 'ipv4' }, { format: 'ipv6' }, { format: 'cidr' }] } })
  return schema
}

function isIpBlock(text: string): boolean {
  const [address, bits, ...rest] = text.split('/')
  const family = isIP(address ?? '')
  if (family === 0 || rest.length > 0 || address!.includes('%')) return false
  if (bits === undefined) return true
  return /^[0-9]{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}
