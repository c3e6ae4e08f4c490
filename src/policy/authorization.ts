import type { Authorization, AuthorizationRule, Operation, PolicyRef, Source } from '../api/gen/outrigger_pb.ts'
import { addressBlocks } from '../base/address-blocks.ts'
import { literalPath } from '../route/path.ts'
import { PathReadings } from '../route/path-readings.ts'

/** What a rule may look at. */
export interface AccessFacts {
  /** SPIFFE id proved by mTLS; '' in plaintext. */
  readonly principal: string
  /** Namespace of the principal; '' in plaintext. */
  readonly namespace: string
  readonly address: string
  /** '' for an opaque connection, as are path and authority. */
  readonly method: string
  readonly path: PathReadings
  readonly port: number
  /** Lower case, as sent. */
  readonly authority: string
}

/** One AuthorizationPolicy, compiled. */
export interface CompiledAuthorization {
  readonly ref: PolicyRef | undefined
  readonly deny: boolean
  readonly shadow: boolean
  /** It looks at paths. */
  readonly namesPaths: boolean
  /** Whether any of its rules holds. */
  holds(facts: AccessFacts): boolean
}

/** Compiles one policy. Throws an Error that names what cannot be compiled (a CIDR). */
export function compileAuthorization(policy: Authorization): CompiledAuthorization {
  // Where a fact is missing, a negated condition must not open a door: it holds for DENY, and not for ALLOW.
  const rules = policy.rules.map((rule) => compileRule(rule, policy.deny))
  return {
    ref: policy.ref,
    deny: policy.deny,
    shadow: policy.shadow,
    namesPaths: policy.rules.some((rule) =>
      rule.operations.some(({ paths, notPaths }) => paths.length + notPaths.length > 0),
    ),
    holds: (facts) => {
      for (const rule of rules) if (rule(facts)) return true
      return false
    },
  }
}

/** Namespace of a SPIFFE id `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`; '' if it is none of that form. */
export function namespaceOf(principal: string): string {
  return /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/[^/]+$/.exec(principal)?.[1] ?? ''
}

type Condition = (facts: AccessFacts) => boolean

function compileRule(rule: AuthorizationRule, deny: boolean): Condition {
  const sources = rule.sources.map((source) => compileSource(source, deny))
  const operations = rule.operations.map((operation) => compileOperation(operation, deny))
  return (facts) => anyHolds(sources, facts) && anyHolds(operations, facts)
}

function anyHolds(conditions: readonly Condition[], facts: AccessFacts): boolean {
  if (conditions.length === 0) return true
  for (const condition of conditions) if (condition(facts)) return true
  return false
}

function compileSource(source: Source, deny: boolean): Condition {
  return all([
    oneOf(source.principals.map(principalPattern), (facts) => facts.principal),
    noneOf(source.notPrincipals.map(principalPattern), (facts) => facts.principal, deny),
    oneOf(source.namespaces, (facts) => facts.namespace),
    noneOf(source.notNamespaces, (facts) => facts.namespace, deny),
    inBlocks(source.ipBlocks, true),
    inBlocks(source.notIpBlocks, false),
  ])
}

function compileOperation(operation: Operation, deny: boolean): Condition {
  const { ports, notPorts } = operation
  return all([
    inMethods(operation.methods, deny),
    negated(inMethods(operation.notMethods, !deny), ({ method }) => method === '', deny),
    inPaths(operation.paths, deny),
    negated(inPaths(operation.notPaths, !deny), ({ path }) => path.all[0] === '', deny),
    ports.length === 0 ? undefined : (facts) => ports.includes(facts.port),
    notPorts.length === 0 ? undefined : (facts) => !notPorts.includes(facts.port),
    inHosts(operation.hosts, deny),
    negated(inHosts(operation.notHosts, !deny), ({ authority }) => authority === '', deny),
  ])
}

/** Where the fact is missing it holds for DENY, and not for ALLOW. */
function negated(condition: Condition | undefined, isMissing: Condition, deny: boolean): Condition | undefined {
  if (condition === undefined) return undefined
  return (facts) => (isMissing(facts) ? deny : !condition(facts))
}

/*
 * A condition is met generously where meeting it refuses the request (`refuses`: in DENY, or negated in ALLOW), and to the
 * letter where it permits: nobody knows how the application reads what has several spellings.
 */

function inMethods(methods: readonly string[], refuses: boolean): Condition | undefined {
  if (methods.length === 0) return undefined
  // Methods have case (RFC 9110 section 9.1), but there are frameworks that do not care. Policies name them in upper case.
  return ({ method }) => methods.includes(refuses ? method.toUpperCase() : method)
}

function inPaths(texts: readonly string[], refuses: boolean): Condition | undefined {
  if (texts.length === 0) return undefined
  const patterns = texts.flatMap((text) => pathPatterns(text, refuses))
  const matchesAny = (path: string): boolean => path !== '' && patterns.some((matches) => matches(path))
  return refuses
    ? (facts) => facts.path.folded.some(matchesAny)
    : (facts) => facts.path.all.length > 0 && facts.path.all.every(matchesAny)
}

/** A path that a policy names may itself be read in several ways: all of them are meant. */
function pathPatterns(text: string, refuses: boolean): Pattern[] {
  if (text.startsWith('*')) {
    const suffix = literalPath(text)
    return [pattern(refuses ? suffix.toLowerCase() : suffix)]
  }
  const star = text.endsWith('*') ? '*' : ''
  const readings = new PathReadings(literalPath(star === '' ? text : text.slice(0, -1)))
  const literal = readings.unreadable ? [literalPath(text)] : refuses ? foldedLiterals(readings, star) : readings.all
  return literal.map((path) => pattern(path + star))
}

/** A prefix keeps the slash at its end: `/a/*` is not `/a*`. */
function foldedLiterals(readings: PathReadings, star: string): readonly string[] {
  return star === '' ? readings.folded : readings.all.map((reading) => reading.toLowerCase())
}

function inHosts(texts: readonly string[], refuses: boolean): Condition | undefined {
  if (texts.length === 0) return undefined
  const patterns = texts.map((text) => pattern(text.toLowerCase()))
  return ({ authority }) => {
    const colon = authority.endsWith(']') ? -1 : authority.lastIndexOf(':')
    const host = colon === -1 ? authority : authority.slice(0, colon)
    const meets = (value: string): boolean => patterns.some((matches) => matches(value))
    if (meets(authority) || meets(host)) return true
    if (!refuses || authority === '') return false
    // The root's dot, zeros before the port, and the port that is meant where none is said.
    const bare = host.endsWith('.') ? host.slice(0, -1) : host
    return meets(bare) || meets(`${bare}:${colon === -1 ? 80 : Number(authority.slice(colon + 1))}`)
  }
}

function all(conditions: readonly (Condition | undefined)[]): Condition {
  const present = conditions.filter((condition) => condition !== undefined)
  return (facts) => present.every((condition) => condition(facts))
}

type Pattern = (text: string) => boolean

/** Exact, `prefix*`, `*suffix`, or `*` for anything that is there (Istio). */
function pattern(text: string): Pattern {
  if (text === '*') return (value) => value !== ''
  if (text.endsWith('*')) {
    const prefix = text.slice(0, -1)
    return (value) => value.startsWith(prefix)
  }
  if (text.startsWith('*')) {
    const suffix = text.slice(1)
    return (value) => value.endsWith(suffix)
  }
  return (value) => value === text
}

/** Istio writes principals without the scheme: both spellings mean the same. */
function principalPattern(text: string): string {
  return text.startsWith('spiffe://') || text.startsWith('*') ? text : `spiffe://${text}`
}

function oneOf(texts: readonly string[], fact: (facts: AccessFacts) => string): Condition | undefined {
  if (texts.length === 0) return undefined
  const patterns = texts.map(pattern)
  return (facts) => {
    const value = fact(facts)
    return value !== '' && patterns.some((matches) => matches(value))
  }
}

function noneOf(
  texts: readonly string[],
  fact: (facts: AccessFacts) => string,
  missing: boolean,
): Condition | undefined {
  if (texts.length === 0) return undefined
  const patterns = texts.map(pattern)
  return (facts) => {
    const value = fact(facts)
    return value === '' ? missing : !patterns.some((matches) => matches(value))
  }
}

function inBlocks(cidrs: readonly string[], wanted: boolean): Condition | undefined {
  if (cidrs.length === 0) return undefined
  const inside = addressBlocks(cidrs)
  return (facts) => inside(facts.address) === wanted
}
