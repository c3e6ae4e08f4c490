import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Authority } from '../../control-plane/identity/authority.ts'
import { temporaryFolder } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { StateFolder } from '../base/state-folder.ts'
import { readCredentials, shareRoot } from './credentials.ts'
import { newPrivateKeyPem, signingRequest } from './signing-request.ts'
import { loadCredentials, storeCredentials } from './stored-credentials.ts'

const hour = 3_600_000
const web = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' }

async function issued(clock: FakeClock) {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  const authority = await Authority.open({ clock, state, trustDomain: 'cluster.local', certificateLifetimeMs: hour })
  const privateKeyPem = await newPrivateKeyPem()
  const { certificateChainPem } = await authority.signRequest(signingRequest(privateKeyPem), web)
  return { privateKeyPem, certificateChainPem, trustBundlePem: authority.trustBundlePem }
}

test('key, certificate and root must belong together and hold now', async () => {
  const clock = new FakeClock()
  const mine = await issued(clock)
  const other = await issued(clock)
  const credentials = readCredentials(mine, clock)
  assert.equal(credentials.spiffeId, 'spiffe://cluster.local/ns/shop/sa/web')
  assert.equal(credentials.trustDomain, 'cluster.local')
  assert.equal(credentials.expiresAtMs, clock.wall() + hour)
  assert.throws(() => readCredentials({ ...mine, privateKeyPem: other.privateKeyPem }, clock), /for another key/)
  assert.throws(
    () => readCredentials({ ...mine, trustBundlePem: other.trustBundlePem }, clock),
    /no root of the trust bundle/,
  )
  assert.throws(() => readCredentials({ ...mine, trustBundlePem: '' }, clock), /no root of the trust bundle/)
  readCredentials({ ...mine, trustBundlePem: other.trustBundlePem + mine.trustBundlePem }, clock)
  await clock.advance(hour + 1_000)
  assert.throws(() => readCredentials(mine, clock), /expired at/)
  assert.equal(shareRoot(mine.trustBundlePem, other.trustBundlePem + mine.trustBundlePem), true)
  assert.equal(shareRoot(mine.trustBundlePem, other.trustBundlePem), false)
})

test('they are stored for their owner only, and come back as they were', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  const clock = new FakeClock()
  const credentials = readCredentials(await issued(clock), clock)
  assert.equal(await loadCredentials(state, clock), undefined)
  await storeCredentials(state, credentials, clock.wall() + 5_000)
  assert.equal(statSync(join(folder.path, 'identity.json')).mode & 0o777, 0o600)
  assert.deepEqual(await loadCredentials(state, clock), { credentials, obtainedAtMs: clock.wall() })
  for (const text of ['', 'null', '[]', '{}', '{"obtainedAtMs":1}', '{"obtainedAtMs":"1","privateKeyPem":"x"}']) {
    await state.write('identity.json', text)
    await assert.rejects(loadCredentials(state, clock), /identity\.json is damaged/)
  }
})
