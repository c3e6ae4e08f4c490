import assert from 'node:assert/strict'
import { type webcrypto, X509Certificate } from 'node:crypto'
import { before, describe, test } from 'node:test'
import {
  badCertificates,
  type CertificateRecipe,
  certificateOf,
  goodCertificates,
  newKeys,
} from '../../test/support/certificate-recipes.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { MeshError } from '../base/errors.ts'
import { type PeerExpectation, verifyPeer } from './peer.ts'

const clock = new FakeClock()
const now = clock.wall()
const id = 'spiffe://cluster.local/ns/shop/sa/web'

let keys: webcrypto.CryptoKeyPair
before(async () => {
  keys = await newKeys()
})

const certificate = (recipe: CertificateRecipe): Promise<Buffer> =>
  certificateOf(recipe, id, keys.publicKey, { name: 'CN=root', key: keys.privateKey }, now)

const good: [string, CertificateRecipe, Partial<PeerExpectation>][] = [
  ...goodCertificates(id).map(({ what, recipe, of }): [string, CertificateRecipe, Partial<PeerExpectation>] => [
    what,
    recipe,
    { use: of },
  ]),
  ['the expected id', {}, { expected: id }],
]

const bad: [string, CertificateRecipe, Partial<PeerExpectation>, RegExp][] = [
  ...badCertificates(id, now).map(
    ({ what, recipe, of, because }): [string, CertificateRecipe, Partial<PeerExpectation>, RegExp] => [
      what,
      recipe,
      { use: of },
      because,
    ],
  ),
  [
    'serverAuth only, when it must do both',
    badCertificates(id, now).find(({ what }) => what === 'serverAuth only, of a client')!.recipe,
    {},
    /not made for clientAuth/,
  ],
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
