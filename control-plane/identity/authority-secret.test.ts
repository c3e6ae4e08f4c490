import 'reflect-metadata'
import assert from 'node:assert/strict'
import { webcrypto, X509Certificate } from 'node:crypto'
import { it } from 'node:test'
import { BasicConstraintsExtension, X509CertificateGenerator } from '@peculiar/x509'
import { Live } from '../../src/base/live.ts'
import { readCredentials } from '../../src/identity/credentials.ts'
import { newPrivateKeyPem, signingRequest } from '../../src/identity/signing-request.ts'
import { eventually, LinesLog } from '../../test/support/control.ts'
import { FakeApi } from '../../test/support/fake-api.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { secretStore } from '../cluster-stores.ts'
import { AuthoritySecret } from './authority-secret.ts'
import { type AuthorityPem, certificatesOf, makeRoot } from './signer.ts'

const minute = 60_000
const hour = 60 * minute
const namespace = 'outrigger-system'
const trustDomain = 'cluster.local'
const web = { trustDomain, namespace: 'shop', serviceAccount: 'web' }

interface ReplicaOptions {
  readonly leads?: boolean
  readonly source?: string
  readonly log?: LinesLog
}

async function replica(
  api: FakeApi,
  clock: FakeClock,
  { leads = true, source, log = new LinesLog() }: ReplicaOptions = {},
) {
  const isLeader = new Live(leads)
  const cluster = api.cluster()
  const secret = await AuthoritySecret.open({
    clock,
    log,
    trustDomain,
    certificateLifetimeMs: 24 * hour,
    store: secretStore(cluster, clock, namespace, source === undefined ? 'outrigger-ca' : 'outrigger-ca-state'),
    source: source === undefined ? undefined : secretStore(cluster, clock, namespace, source),
    announceMs: 10 * minute,
    isLeader,
  })
  return { secret, authority: secret.authority, isLeader, log, [Symbol.asyncDispose]: () => secret.stop() }
}

const held = (api: FakeApi, name = 'outrigger-ca') => api.get('Secret', namespace, name)
const phase = (api: FakeApi, name = 'outrigger-ca'): string =>
  held(api, name)?.metadata?.annotations?.['outrigger.dev/rotation']?.split(' ')[0] ?? 'steady'
const roots = (pem: string): string[] => certificatesOf(pem).map(({ fingerprint256 }) => fingerprint256)

/** A leaf as a sidecar gets it, checked as a sidecar checks it against that bundle. */
async function leaf(
  { authority }: Awaited<ReturnType<typeof replica>>,
  clock: FakeClock,
  trustBundlePem = authority.trustBundlePem,
) {
  const privateKeyPem = await newPrivateKeyPem()
  const { certificateChainPem } = await authority.signRequest(signingRequest(privateKeyPem), web)
  return readCredentials({ privateKeyPem, certificateChainPem, trustBundlePem }, clock)
}

/** Days go by without their timers; then one look at the clock. */
class Calendar extends FakeClock {
  #skipped = 0

  override wall(): number {
    return super.wall() + this.#skipped
  }

  async pass(ms: number): Promise<void> {
    this.#skipped += ms
    await this.advance(31_000)
    // Requests go over real sockets, by real time.
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

it('replicas that start together have one authority', async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  const all = await Promise.all([1, 2, 3, 4].map(() => replica(api, clock, { leads: false })))
  const bundles = new Set(all.map(({ authority }) => authority.trustBundlePem))
  assert.equal(bundles.size, 1)
  assert.equal(api.asked.filter(({ method }) => method === 'POST').length, 4)
  assert.equal(held(api)?.['type'], 'kubernetes.io/tls')
  await leaf(all[0]!, clock, all[3]!.authority.trustBundlePem)
  for (const one of all) await one.secret.stop()
})

it('a rotation: trusted first, signed with later, let go last; replicas agree and nothing is refused meanwhile', async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  await using a = await replica(api, clock)
  await using b = await replica(api, clock, { leads: false })
  await eventually(() => api.watches === 2, 'watched')
  const [old] = roots(a.authority.trustBundlePem)
  const ofOld = await leaf(a, clock)
  const bundles: string[][] = []
  b.authority.current.subscribe(({ trustBundlePem }) => bundles.push(roots(trustBundlePem)))

  const secret = held(api)!
  api.put({ ...secret, metadata: { ...secret.metadata, annotations: { 'outrigger.dev/rotate': 'now', mine: 'x' } } })
  await eventually(() => bundles.length === 2, 'announced everywhere')
  const [, next] = bundles[1]!
  assert.deepEqual(bundles[1], [old, next])
  assert.equal(phase(api), 'announced')
  assert.deepEqual(Object.keys(held(api)!.metadata!.annotations!), ['mine', 'outrigger.dev/rotation'])
  const bundleOfNobody = b.authority.trustBundlePem
  // Still signed with the old one: a sidecar that has not heard yet accepts it.
  assert.deepEqual(roots(ofOld.trustBundlePem), [old])
  await leaf(b, clock, ofOld.trustBundlePem)
  await clock.pass(9 * minute)
  assert.equal(phase(api), 'announced')
  await leaf(a, clock, ofOld.trustBundlePem)

  await clock.pass(2 * minute)
  await eventually(
    () => a.authority.current.current.signer === next && b.authority.current.current.signer === next,
    'switched',
  )
  assert.equal(phase(api), 'switched')
  const ofNew = await leaf(b, clock, bundleOfNobody)
  assert.ok(new X509Certificate(ofNew.certificateChainPem).verify(certificatesOf(bundleOfNobody)[1]!.publicKey))
  // Those of the old root are good for as long as they live.
  readCredentials({ ...ofOld, trustBundlePem: a.authority.trustBundlePem }, clock)
  await clock.pass(24 * hour)
  assert.deepEqual(roots(a.authority.trustBundlePem), [old, next])

  await clock.pass(20 * minute)
  await eventually(
    () => roots(a.authority.trustBundlePem).length === 1 && roots(b.authority.trustBundlePem).length === 1,
    'let go',
  )
  assert.deepEqual(roots(b.authority.trustBundlePem), [next])
  assert.equal(phase(api), 'steady')
  assert.deepEqual(Object.keys(held(api)!['data'] as object).sort(), ['ca.crt', 'tls.crt', 'tls.key'])
  assert.equal(b.log.lines.filter((line) => !line.startsWith('info')).length, 0)
  assert.deepEqual(
    a.log.lines.filter((line) => line.includes('rotation of the root')).map((line) => line.split(/[,:]/)[1]!.trim()),
    ['announced', 'switched', 'steady'],
  )
})

it('a root of ours is replaced by itself before it ends', async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  {
    await using _ = await replica(api, clock)
  }
  await clock.pass((3_650 - 91) * 24 * hour)
  await using a = await replica(api, clock)
  await clock.pass(minute)
  assert.equal(phase(api), 'steady')
  await clock.pass(25 * hour)
  await eventually(() => a.secret.phase === 'announced', 'announced')
  assert.match(a.log.lines.join('\n'), /rotation of the root, announced: the root ends in (89|90) days/)
})

it('who leads next goes on where the last one stopped, and two leaders do one step', async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  {
    await using a = await replica(api, clock)
    await eventually(() => api.watches === 1, 'watched')
    const secret = held(api)!
    api.put({ ...secret, metadata: { ...secret.metadata, annotations: { 'outrigger.dev/rotate': '' } } })
    await eventually(() => phase(api) === 'announced', 'announced')
    assert.equal(a.secret.phase, 'announced')
  }
  await clock.pass(11 * minute)
  await using b = await replica(api, clock)
  await using c = await replica(api, clock)
  await eventually(() => b.secret.phase === 'switched' && c.secret.phase === 'switched', 'switched')
  assert.equal(b.authority.current.current.signer, c.authority.current.current.signer)
})

it('what is not in order changes nothing, and a Secret that is deleted comes back', async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  const log = new LinesLog()
  await using a = await replica(api, clock, { log })
  await eventually(() => api.watches === 1, 'watched')
  const good = held(api)!
  const before = a.authority.trustBundlePem
  const data = good['data'] as Record<string, string>
  const other = await makeRoot({ trustDomain, clock })
  const broken: [object, RegExp][] = [
    [{ ...data, 'tls.key': '' }, /has no tls\.key/],
    [{ ...data, 'tls.crt': Buffer.from('x').toString('base64') }, /no certificate in PEM/],
    [{ ...data, 'tls.key': Buffer.from(other.key).toString('base64') }, /its key is not the key of its certificate/],
    [{ ...data, 'ca.crt': Buffer.from(other.certificate).toString('base64') }, /leads to none of the roots/],
  ]
  for (const [bad, says] of broken) {
    log.lines.length = 0
    api.put({ ...good, data: bad })
    await eventually(() => log.lines.length > 0, String(says))
    assert.match(log.lines[0]!, says)
    assert.match(log.lines[0]!, /the last good one stays/)
    assert.ok(!log.lines.join('').includes('PRIVATE KEY'))
    assert.equal(a.authority.trustBundlePem, before)
    await leaf(a, clock)
  }
  api.put(good)
  api.delete('Secret', namespace, 'outrigger-ca')
  await eventually(() => held(api) !== undefined, 'back')
  assert.deepEqual(held(api)!['data'], data)
  await eventually(() => /was deleted, and is back as it was/.test(log.lines.join('\n')), 'told')
})

it('says what is wrong with a Secret at the start, and how to mend it', async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  await assert.rejects(
    replica(api, clock, { source: 'their-ca' }),
    /no Secret outrigger-system\/their-ca.*isCA: true.*managed: true/,
  )
  api.put({ kind: 'Secret', metadata: { name: 'outrigger-ca', namespace }, data: {} })
  await assert.rejects(
    replica(api, clock),
    /the Secret outrigger-system\/outrigger-ca is no authority: it has no tls\.key; restore it/,
  )
  const { privateKey } = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, [
    'sign',
    'verify',
  ])
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey)).toString('base64')
  const root = await makeRoot({ trustDomain, clock })
  put(api, 'their-ca', { ...root, key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----` })
  await assert.rejects(replica(api, clock, { source: 'their-ca' }), /not one of P-256.*cert-manager: privateKey/)
})

it("somebody else's authority is taken over when it is renewed, with the same overlap", async () => {
  await using api = await FakeApi.start()
  const clock = new Calendar()
  const first = await makeRoot({ trustDomain, clock })
  put(api, 'their-ca', first)
  await using a = await replica(api, clock, { source: 'their-ca' })
  assert.deepEqual(roots(a.authority.trustBundlePem), roots(first.certificate))
  await eventually(() => api.watches === 2, 'watched')
  const ofFirst = await leaf(a, clock)
  // Renewed in place, with another key: cert-manager's rotationPolicy Always.
  const second = await intermediate(clock)
  put(api, 'their-ca', second)
  await eventually(() => phase(api, 'outrigger-ca-state') === 'announced', 'announced')
  await leaf(a, clock, ofFirst.trustBundlePem)
  await clock.pass(11 * minute)
  await eventually(() => a.secret.phase === 'switched', 'switched')
  const ofSecond = await leaf(a, clock)
  assert.equal(certificatesOf(ofSecond.certificateChainPem).length, 2, 'the intermediate goes with it')
  readCredentials({ ...ofFirst, trustBundlePem: a.authority.trustBundlePem }, clock)
  await clock.pass(25 * hour)
  await eventually(() => a.secret.phase === 'steady', 'let go')
  assert.deepEqual(roots(a.authority.trustBundlePem), roots(second.trustBundle!))
  await leaf(a, clock)
  // It is not ours to renew.
  const state = held(api, 'outrigger-ca-state')!
  api.put({ ...state, metadata: { ...state.metadata, annotations: { 'outrigger.dev/rotate': 'now' } } })
  await eventually(() => a.log.lines.join('\n').includes('renew it there'), 'told')
})

function put(api: FakeApi, name: string, { key, certificate, trustBundle = certificate }: AuthorityPem): void {
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  api.put({
    kind: 'Secret',
    metadata: { name, namespace },
    data: { 'tls.key': base64(key), 'tls.crt': base64(certificate), 'ca.crt': base64(trustBundle) },
  })
}

/** An authority that a root of somebody else has signed. */
async function intermediate(clock: FakeClock): Promise<AuthorityPem> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const life = { notBefore: new Date(clock.wall() - hour), notAfter: new Date(clock.wall() + 1_000 * hour) }
  const rootKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '41',
    name: 'CN=their root',
    ...life,
    keys: rootKeys,
    signingAlgorithm,
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  })
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const made = await X509CertificateGenerator.create({
    serialNumber: '42',
    subject: 'CN=intermediate',
    issuer: root.subjectName,
    ...life,
    publicKey: keys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm,
    extensions: [new BasicConstraintsExtension(true, 0, true)],
  })
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return {
    key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
    certificate: `${made.toString('pem')}\n`,
    trustBundle: `${root.toString('pem')}\n`,
  }
}
