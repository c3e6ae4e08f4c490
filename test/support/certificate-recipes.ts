/** Certificates that no honest authority would make, and what is wrong with each. */
import 'reflect-metadata'
import { createPrivateKey, type webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const hourMs = 3_600_000
const { clientAuth, serverAuth } = ExtendedKeyUsage

export interface CertificateRecipe {
  /** Default: one URI name with the id. */
  readonly names?: Extension[]
  readonly ca?: boolean
  readonly usages?: string[]
  /** Unix milliseconds; default an hour before and after now. */
  readonly notBefore?: number
  readonly notAfter?: number
  readonly subject?: string
}

/** Who signs. */
export interface CertificateIssuer {
  readonly name: string
  readonly key: webcrypto.CryptoKey
}

export function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

/** PEM of a P-256 key, for signing. */
export function signingKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' })
  return crypto.subtle.importKey('pkcs8', new Uint8Array(der), algorithm, false, ['sign'])
}

/** DER of the certificate. */
export async function certificateOf(
  recipe: CertificateRecipe,
  id: string,
  publicKey: webcrypto.CryptoKey,
  issuer: CertificateIssuer,
  wallMs: number,
): Promise<Buffer> {
  const { names = [uris(id)], ca = false, usages = [serverAuth, clientAuth], subject = '' } = recipe
  const made = await X509CertificateGenerator.create({
    subject,
    issuer: issuer.name,
    notBefore: new Date(recipe.notBefore ?? wallMs - hourMs),
    notAfter: new Date(recipe.notAfter ?? wallMs + hourMs),
    publicKey,
    signingKey: issuer.key,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(ca, undefined, true),
      ...(usages.length === 0 ? [] : [new ExtendedKeyUsageExtension(usages)]),
      ...names,
    ],
  })
  return Buffer.from(made.rawData)
}

export function uris(...values: string[]): Extension {
  return new SubjectAlternativeNameExtension(values.map((value) => ({ type: 'url' as const, value })))
}

/** A list of names of raw bytes: context tag and content of each, as no honest library would write them. */
function rawNames(...names: (readonly [tag: number, content: string])[]): Extension {
  const body = Buffer.concat(
    names.map(([tag, text]) => Buffer.concat([Buffer.from([tag, text.length]), Buffer.from(text, 'latin1')])),
  )
  const list = Buffer.concat([Buffer.from(body.length < 0x80 ? [0x30, body.length] : [0x30, 0x81, body.length]), body])
  return new Extension('2.5.29.17', false, list)
}

const uri = 0x86
const dns = 0x82
const mail = 0x81

export interface CertificateCase {
  readonly what: string
  readonly recipe: CertificateRecipe
  /** Wrong, or right, for one side of a connection only. */
  readonly of?: 'server' | 'client'
  /** Why `verifyPeer` refuses it. */
  readonly because: RegExp
}

export function goodCertificates(id: string): readonly Omit<CertificateCase, 'because'>[] {
  return [
    { what: 'one URI name', recipe: {} },
    { what: 'a DNS name beside it', recipe: { names: [rawNames([uri, id], [dns, 'web.shop'])] } },
    { what: 'a server that is made for servers only', recipe: { usages: [serverAuth] }, of: 'server' },
    { what: 'a client that is made for clients only', recipe: { usages: [clientAuth] }, of: 'client' },
  ]
}

export function badCertificates(id: string, wallMs: number): readonly CertificateCase[] {
  const admin = id.replace(/[^/]+$/, 'admin')
  const other = /characters that no identity has/
  const named = (what: string, because: RegExp, ...names: Extension[]): CertificateCase => ({
    what,
    because,
    recipe: { names },
  })
  return [
    named('no names at all', /no subject alternative name/),
    {
      what: 'the id only in the common name',
      because: /no subject alternative name/,
      recipe: { names: [], subject: `CN=${id}` },
    },
    named('the id as a DNS name', /0 URI names/, rawNames([dns, id])),
    named('the id as a mail address', /0 URI names/, rawNames([mail, id])),
    named('two URI names', /2 URI names/, uris(id, admin)),
    named('the same URI name twice', /2 URI names/, uris(id, id)),
    named('two lists of names', /two lists/, uris(id), uris(admin)),
    named('a NUL after the id', other, rawNames([uri, `${id}\0.evil`])),
    named('a NUL in a DNS name beside it', other, rawNames([uri, id], [dns, 'web\0.shop'])),
    named('an id written into a DNS name', other, rawNames([dns, `x, URI:${id}`])),
    named('an id written into a URI name', other, rawNames([uri, `https://x, URI:${id}`])),
    named('a newline in the id', other, rawNames([uri, `${id}\n`])),
    named('another scheme', /is not spiffe:/, uris(id.replace('spiffe:', 'https:'))),
    named('upper case in the path', /is not spiffe:/, uris(id.replace('/sa/', '/SA/'))),
    named('one path segment more', /is not spiffe:/, uris(`${id}/x`)),
    named('a query behind the id', /is not spiffe:/, uris(`${id}?x`)),
    named('a wrong trust domain', /not of the trust domain/, uris(id.replace('cluster.local', 'evil.local'))),
    named(
      'a trust domain that only starts right',
      /not of the trust domain/,
      uris(id.replace('cluster.local', 'cluster.local.evil')),
    ),
    { what: 'a CA certificate', recipe: { ca: true }, because: /CA certificate/ },
    { what: 'no extended key usage', recipe: { usages: [] }, because: /not made for/ },
    {
      what: 'clientAuth only, of a server',
      recipe: { usages: [clientAuth] },
      of: 'server',
      because: /not made for serverAuth/,
    },
    {
      what: 'serverAuth only, of a client',
      recipe: { usages: [serverAuth] },
      of: 'client',
      because: /not made for clientAuth/,
    },
    { what: 'expired', recipe: { notAfter: wallMs - 1_000 }, because: /expired at/ },
    {
      what: 'not yet valid',
      recipe: { notBefore: wallMs + 60_000 },
      because: /not valid before .* compare the clocks/,
    },
  ]
}
