import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import type { Clock } from '../../src/base/clock.ts'
import { verifyPeer } from '../../src/base/peer.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { newPrivateKeyPem, signingRequest } from '../../src/identity/signing-request.ts'
import { temporaryFolder } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Authority } from './authority.ts'

const day = 86_400_000
const web = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' }
const clock = new FakeClock()
const later = (ms: number): Clock => Object.assign(new FakeClock(), { wall: () => clock.wall() + ms })

function open(state: StateFolder, trustDomain = 'cluster.local', at: Clock = clock): Promise<Authority> {
  return Authority.open({ clock: at, state, trustDomain, certificateLifetimeMs: day })
}

let key: string
before(async () => {
  key = await newPrivateKeyPem()
})

describe('Authority', () => {
  test('makes a root of ten years, private, and finds it again', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    const authority = await open(state)
    const root = new X509Certificate(authority.trustBundlePem)
    assert.equal(root.ca, true)
    assert.equal(root.subjectAltName, 'URI:spiffe://cluster.local')
    assert.ok(root.verify(root.publicKey))
    assert.equal(root.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    assert.ok(Math.abs(authority.rootExpiresAtMs - clock.wall() - 3_650 * day) < day)
    assert.equal(statSync(join(folder.path, 'ca-key.pem')).mode & 0o777, 0o600)
    assert.equal(readFileSync(join(folder.path, 'root.pem'), 'utf8'), authority.trustBundlePem)
    assert.equal((await open(state)).trustBundlePem, authority.trustBundlePem)
  })

  test('issues a leaf with one name, for both uses, for a day, backdated by five minutes', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    const authority = await open(state)
    const issued = await authority.signRequest(signingRequest(key), web)
    const leaf = new X509Certificate(issued.certificateChainPem)
    const root = new X509Certificate(authority.trustBundlePem)
    assert.equal(verifyPeer(leaf, { trustDomain: 'cluster.local', clock }), 'spiffe://cluster.local/ns/shop/sa/web')
    assert.ok(leaf.checkIssued(root) && leaf.verify(root.publicKey))
    assert.equal(leaf.ca, false)
    assert.equal(leaf.validFromDate.getTime(), clock.wall() - 300_000)
    assert.equal(leaf.validToDate.getTime(), clock.wall() + day)
    assert.equal(issued.expiresAtMs, clock.wall() + day)
    const again = await authority.signRequest(signingRequest(key), web)
    assert.notEqual(new X509Certificate(again.certificateChainPem).serialNumber, leaf.serialNumber)
  })

  test('no leaf outlives the root', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    await open(state)
    const authority = await open(state, 'cluster.local', later(3_650 * day - 60_000))
    assert.equal((await authority.signRequest(signingRequest(key), web)).expiresAtMs, authority.rootExpiresAtMs)
  })

  test('refuses a request that is none, that is tampered with, or that does not prove its key', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    const authority = await open(state)
    const good = signingRequest(key)
    const other = signingRequest(await newPrivateKeyPem())
    // The public key of one with the signature of the other.
    const stolen = Buffer.from(good)
    const at = other.indexOf(Buffer.from([0x03, 0x42, 0x00, 0x04]))
    other.copy(stolen, at, at, at + 68)
    for (const bad of [Buffer.alloc(0), Buffer.from('hello'), good.subarray(0, -1), stolen]) {
      await assert.rejects(authority.signRequest(bad, web), { name: 'SigningRequestError' })
    }
    await assert.rejects(authority.signRequest(good, { ...web, namespace: 'shop/sa/admin' }), /no identity/)
  })

  test('says what is wrong with its folder, and how to mend it', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    await open(state)
    const root = join(folder.path, 'root.pem')
    const keyFile = join(folder.path, 'ca-key.pem')
    await assert.rejects(
      open(state, 'other.domain'),
      /is of spiffe:\/\/cluster\.local, not of spiffe:\/\/other\.domain: choose that --trust-domain/,
    )
    await assert.rejects(open(state, 'cluster.local', later(4_000 * day)), /set this machine's clock/)
    const goodKey = readFileSync(keyFile)
    writeFileSync(keyFile, key)
    await assert.rejects(open(state), /ca-key\.pem .* is not the key of root\.pem/)
    rmSync(keyFile)
    await assert.rejects(open(state), /has root\.pem but no ca-key\.pem/)
    writeFileSync(keyFile, goodKey)
    writeFileSync(root, 'garbage')
    await assert.rejects(open(state), /root\.pem .* is damaged/)
  })
})
