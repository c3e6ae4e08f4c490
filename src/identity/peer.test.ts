import 'reflect-metadata'
import assert from 'node:assert/strict'
import { webcrypto, X509Certificate } from 'node:crypto'
import { before, describe, test } from 'node:test'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { MeshError } from '../base/errors.ts'
import { type PeerExpectation, verifyPeer } from './peer.ts'

const clock = new FakeClock()
const now = clock.wall()
const id = 'spiffe://cluster.local/ns/shop/sa/web'
const hour = 3_600_000
const { clientAuth, serverAuth } = ExtendedKeyUsage

let keys: webcrypto.CryptoKeyPair
before(async () => {
  keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
})

interface Recipe {
  readonly names?: Extension[]
  readonly ca?: boolean
  readonly usages?: string[]
  readonly notBefore?: number
  readonly notAfter?: number
  readonly subject?: string
}

async function certificate(recipe: Recipe): Promise<Buffer> {
  const { names = [uris(id)], ca = false, usages = [serverAuth, clientAuth], subject = '' } = recipe
  const made = await X509CertificateGenerator.create({
    subject,
    issuer: 'CN=root',
    notBefore: new Date(recipe.notBefore ?? now - hour),
    notAfter: new Date(recipe.notAfter ?? now + hour),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new BasicConstraintsExtension(ca, undefined, true),
      ...(usages.length === 0 ? [] : [new ExtendedKeyUsageExtension(usages)]),
      ...names,
    ],
  })
  return Buffer.from(made.rawData)
}

function uris(...values: string[]): Extension {
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

const good: [string, Recipe, Partial<PeerExpectation>][] = [
  ['one URI name', {}, {}],
  ['the expected id', {}, { expected: id }],
  ['a DNS name beside it', { names: [rawNames([uri, id], [dns, 'web.shop'])] }, {}],
  ['a server that is made for servers only', { usages: [serverAuth] }, { use: 'server' }],
  ['a client that is made for clients only', { usages: [clientAuth] }, { use: 'client' }],
]

const bad: [string, Recipe, Partial<PeerExpectation>, RegExp][] = [
  ['no names at all', { names: [] }, {}, /no subject alternative name/],
  ['the id only in the common name', { names: [], subject: `CN=${id}` }, {}, /no subject alternative name/],
  ['the id as a DNS name', { names: [rawNames([dns, id])] }, {}, /0 URI names/],
  ['the id as a mail address', { names: [rawNames([mail, id])] }, {}, /0 URI names/],
  ['two URI names', { names: [uris(id, 'spiffe://cluster.local/ns/shop/sa/admin')] }, {}, /2 URI names/],
  ['the same URI name twice', { names: [uris(id, id)] }, {}, /2 URI names/],
  ['two lists of names', { names: [uris(id), uris('spiffe://cluster.local/ns/shop/sa/admin')] }, {}, /two lists/],
  ['a NUL after the id', { names: [rawNames([uri, `${id}\0.evil`])] }, {}, /characters that no identity has/],
  [
    'a NUL in a DNS name beside it',
    { names: [rawNames([uri, id], [dns, 'web\0.shop'])] },
    {},
    /characters that no identity has/,
  ],
  [
    'an id written into a DNS name',
    { names: [rawNames([dns, `x, URI:${id}`])] },
    {},
    /characters that no identity has/,
  ],
  [
    'an id written into a URI name',
    { names: [rawNames([uri, `https://x, URI:${id}`])] },
    {},
    /characters that no identity has/,
  ],
  ['a newline in the id', { names: [rawNames([uri, `${id}\n`])] }, {}, /characters that no identity has/],
  ['another scheme', { names: [uris('https://cluster.local/ns/shop/sa/web')] }, {}, /is not spiffe:/],
  ['upper case in the path', { names: [uris('spiffe://cluster.local/ns/Shop/sa/web')] }, {}, /is not spiffe:/],
  ['one path segment more', { names: [uris(`${id}/x`)] }, {}, /is not spiffe:/],
  ['a wrong trust domain', { names: [uris('spiffe://evil.local/ns/shop/sa/web')] }, {}, /not of the trust domain/],
  [
    'a trust domain that only starts right',
    { names: [uris('spiffe://cluster.local.evil/ns/shop/sa/web')] },
    {},
    /not of the trust domain/,
  ],
  ['a CA certificate', { ca: true }, {}, /CA certificate/],
  ['no extended key usage', { usages: [] }, {}, /not made for serverAuth/],
  ['clientAuth only, of a server', { usages: [clientAuth] }, { use: 'server' }, /not made for serverAuth/],
  ['serverAuth only, of a client', { usages: [serverAuth] }, { use: 'client' }, /not made for clientAuth/],
  ['serverAuth only, when it must do both', { usages: [serverAuth] }, {}, /not made for clientAuth/],
  ['expired', { notAfter: now - 1_000 }, {}, /expired at/],
  ['not yet valid', { notBefore: now + 60_000 }, {}, /not valid before .* compare the clocks/],
  ['someone else', {}, { expected: 'spiffe://cluster.local/ns/shop/sa/orders' }, /expected spiffe:.*orders/],
  [
    'not of the workload',
    {},
    { workload: { namespace: 'shop', serviceAccount: 'orders' } },
    /expected \/ns\/shop\/sa\/orders/,
  ],
]

describe('verifyPeer', () => {
  for (const [name, recipe, expectation] of good) {
    test(`accepts ${name}`, async () => {
      const der = await certificate(recipe)
      assert.equal(verifyPeer(der, { trustDomain: 'cluster.local', clock, ...expectation }), id)
      assert.equal(verifyPeer(new X509Certificate(der), { trustDomain: 'cluster.local', clock, ...expectation }), id)
    })
  }

  for (const [name, recipe, expectation, message] of bad) {
    test(`refuses ${name}`, async () => {
      const der = await certificate(recipe)
      assert.throws(
        () => verifyPeer(der, { trustDomain: 'cluster.local', clock, ...expectation }),
        (error: unknown) => {
          assert.ok(error instanceof MeshError)
          assert.equal(error.code, 'UPSTREAM_IDENTITY')
          assert.match(error.message, message)
          return true
        },
      )
    })
  }

  test('refuses what is no certificate', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('hello'), Buffer.alloc(2_000, 0x30)]) {
      assert.throws(() => verifyPeer(bytes, { trustDomain: 'cluster.local', clock }), { code: 'UPSTREAM_IDENTITY' })
    }
  })
})
