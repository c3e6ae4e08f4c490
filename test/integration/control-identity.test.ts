import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { status } from '@grpc/grpc-js'
import { SignJWT } from 'jose'
import { Tokens } from '../../control-plane/identity/token.ts'
import { HelloSchema, SubscribeSchema } from '../../src/api/gen/outrigger_pb.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import {
  eventually,
  LinesLog,
  rawWatch,
  seen,
  startControl,
  startSidecar,
  type TestControl,
  temporaryFolder,
} from '../support/control.ts'

const timeout = 30_000
const hello = (namespace: string, workload = 'web-0', schemas = ['v1alpha1']) =>
  ({ case: 'hello', value: create(HelloSchema, { namespace, workload, schemas }) }) as const

/** A clock that is wrong by so much. */
function wrongBy(ms: number): Clock {
  return { ...systemClock, wall: () => systemClock.wall() + ms }
}

async function tokenOf(control: TestControl, folder: string, audience: string): Promise<string> {
  const key = createPrivateKey(readFileSync(join(folder, 'token-key.pem')))
  return new SignJWT({ namespace: 'shop', serviceAccount: 'web' })
    .setProtectedHeader({ alg: 'ES256' })
    .setIssuer(control.authority.trustDomain)
    .setSubject('spiffe://cluster.local/ns/shop/sa/web')
    .setAudience(audience)
    .setJti('1')
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(key)
}

test('a token that is expired, for another audience, of another key or no token at all: refused, counted, never logged', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  using other = temporaryFolder()
  const log = new LinesLog()
  await using control = await startControl({ stateDir: folder.path, log })
  await using foreign = await startControl({ stateDir: other.path })
  const subject = { namespace: 'shop', serviceAccount: 'web' }
  const long = new Tokens(createPrivateKey(readFileSync(join(folder.path, 'token-key.pem'))), wrongBy(-3_600_000))
  const cases: [fault: string, token: string | undefined, says: RegExp][] = [
    ['expired', await long.make(subject, 'cluster.local'), /expired: make a new one with `outrigger token/],
    ['wrong-audience', await tokenOf(control, folder.path, 'https://kubernetes.default.svc'), /not made for enrolment/],
    ['wrong-audience', await control.tokens.make(subject, 'other.domain'), /not made for enrolment/],
    ['wrong-key', await foreign.tokens.make(subject, 'cluster.local'), /made by another control plane/],
    ['malformed', 'not.a.token', /not a join token/],
    ['malformed', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.', /not a join token/],
  ]
  const before = new Map<string, number>()
  for (const [fault, token, says] of cases) {
    await using sidecar = await startSidecar({ control, token: () => Promise.resolve(token) })
    await eventually(
      () => sidecar.certificate.status().is === 'waiting' && (sidecar.certificate.status().failure ?? '') !== '',
      fault,
    )
    assert.match(sidecar.certificate.status().failure ?? '', says)
    assert.equal(sidecar.certificate.credentials.current, undefined)
    assert.ok((control.server.identity.refusals.get(fault) ?? 0) > (before.get(fault) ?? 0), `${fault} is counted`)
    before.set(fault, control.server.identity.refusals.get(fault) ?? 0)
    for (const line of log.lines) assert.equal(line.includes(token!), false, 'no secret in the log')
  }
  await using none = await startSidecar({ control, token: () => Promise.resolve(undefined) })
  await eventually(() => none.certificate.status().failure !== undefined, 'no token')
  assert.match(none.certificate.status().failure ?? '', /no valid certificate and no join token/)
  assert.equal(
    log.lines.some((line) => line.includes('certificate issued')),
    false,
  )
})

test('no token can be made for the control plane itself, nor for a name that is none', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  const make = (namespace: string, serviceAccount: string) =>
    control.tokens.make({ namespace, serviceAccount }, 'cluster.local')
  await assert.rejects(make('outrigger-system', 'outrigger-control-plane'), /control plane itself/)
  await assert.rejects(make('shop/sa/x', 'web'), /no identity/)
  await assert.rejects(make('shop', ''), /no identity/)
})

test('a certificate of another root opens no stream, and another root’s control plane gets no sidecar', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  using other = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  await using foreign = await startControl({ stateDir: other.path })
  await using stranger = await startSidecar({ control: foreign })
  const credentials = await stranger.certificate.whenHeld()
  await using raw = rawWatch(control.address, credentials, control.authority.trustBundlePem)
  raw.send(hello('shop'))
  const error = await raw.ended
  assert.equal(error?.code, status.UNAUTHENTICATED)
  assert.match(error?.details ?? '', /client certificate refused/)
  assert.deepEqual(control.server.sidecars.list(), [])

  await using misled = await startSidecar({ control: foreign, rootPem: control.authority.trustBundlePem })
  await eventually(() => misled.certificate.status().failure !== undefined, 'the sidecar notices')
  assert.match(misled.certificate.status().failure ?? '', /not signed by the pinned root: give this workload root\.pem/)
})

test('without a certificate there is no stream', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  await using raw = rawWatch(control.address, undefined, control.authority.trustBundlePem)
  raw.send(hello('shop'))
  const error = await raw.ended
  assert.equal(error?.code, status.UNAUTHENTICATED)
  assert.match(error?.details ?? '', /needs a client certificate/)
})

test('a workload is no control plane, though its certificate is of the same root', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  await using web = await startSidecar({ control })
  const { privateKeyPem, certificateChainPem } = await web.certificate.whenHeld()
  const { createServer: createTlsServer } = await import('node:tls')
  const impostor = createTlsServer({ key: privateKeyPem, cert: certificateChainPem, ALPNProtocols: ['h2'] })
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve))
  const address = impostor.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  let asked = 0
  const token = async (): Promise<string> => {
    asked++
    return control.tokens.make({ namespace: 'shop', serviceAccount: 'web' }, 'cluster.local')
  }
  try {
    const { authority, tokens } = control
    await using misled = await startSidecar({ control: { address: `127.0.0.1:${port}`, authority, tokens }, token })
    await eventually(() => misled.certificate.status().failure !== undefined, 'the sidecar notices')
    assert.match(misled.certificate.status().failure ?? '', /is not a control plane: .*outrigger-control-plane/)
    assert.ok(asked > 0)
  } finally {
    impostor.close()
  }
})

test('Hello must be of the certificate’s namespace, first, once, and of a version that both speak', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  await using web = await startSidecar({ control, workload: 'own' })
  const credentials = await web.certificate.whenHeld()
  const cases: [messages: Parameters<ReturnType<typeof rawWatch>['send']>[0][], code: status, says: RegExp][] = [
    [[hello('bank')], status.PERMISSION_DENIED, /of namespace 'shop', Hello says 'bank'/],
    [[hello('shop'), hello('shop')], status.INVALID_ARGUMENT, /twice/],
    [[hello('shop', '')], status.INVALID_ARGUMENT, /no workload/],
    [[hello('shop', 'web-0', ['v9'])], status.FAILED_PRECONDITION, /speaks v1alpha1, the sidecar v9/],
    [
      [{ case: 'subscribe', value: create(SubscribeSchema, { names: ['mesh'] }) }],
      status.INVALID_ARGUMENT,
      /first message .* Hello/,
    ],
  ]
  for (const [messages, code, says] of cases) {
    await using raw = rawWatch(control.address, credentials)
    for (const message of messages) raw.send(message)
    const error = await raw.ended
    assert.equal(error?.code, code)
    assert.match(error?.details ?? '', says)
  }
  await using misplaced = await startSidecar({ control, helloNamespace: 'bank' })
  await eventually(() => misplaced.stream.failure !== undefined, 'the sidecar says it')
  assert.match(misplaced.stream.failure ?? '', /namespace/)
  assert.equal(misplaced.store.synced, false)
})

test('a token of another namespace gives no usable certificate', { timeout }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  const token = () => control.tokens.make({ namespace: 'bank', serviceAccount: 'web' }, 'cluster.local')
  await using sidecar = await startSidecar({ control, token })
  await eventually(() => sidecar.certificate.status().failure !== undefined, 'the sidecar notices')
  assert.match(sidecar.certificate.status().failure ?? '', /is for bank\/web, this workload is shop\//)
  assert.equal(sidecar.certificate.credentials.current, undefined)
})

test('killed control plane, restarted sidecar: certificate and last good policy from disk, at once', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  using own = temporaryFolder()
  const control = await startControl({ stateDir: folder.path })
  control.resources.set('service/shop/orders', 'v7')
  const first = await startSidecar({ control, stateDir: own.path })
  await seen(first.store, 'service/shop/orders', (resource) => resource?.version === 'v7')
  const { spiffeId } = await first.certificate.whenHeld()
  await first.stop()
  await control.stop()

  const token = () => Promise.reject(new Error('not needed'))
  const second = await startSidecar({ control, stateDir: own.path, token })
  assert.equal(second.certificate.credentials.current?.spiffeId, spiffeId)
  assert.equal(second.store.synced, true)
  assert.equal(second.store.status().source, 'disk')
  const versions: (string | undefined)[] = []
  second.store.watch('service/shop/orders', (resource) => versions.push(resource?.version))
  assert.deepEqual(versions, ['v7'], 'known in the same turn')
  await second.stop()

  const path = join(own.path, 'policy.bin')
  const bytes = readFileSync(path)
  bytes[bytes.length - 3]! ^= 1
  writeFileSync(path, bytes)
  writeFileSync(join(own.path, 'identity.json'), '{"privateKeyPem":')
  const log = new LinesLog()
  const third = await startSidecar({ control, stateDir: own.path, token, log })
  assert.equal(third.store.synced, false)
  assert.equal(third.certificate.credentials.current, undefined)
  assert.ok(log.lines.some((line) => line.includes('last good policy is not used: policy.bin is damaged')))
  assert.ok(log.lines.some((line) => line.includes('identity.json is damaged')))
  await third.stop()
})

test('a stored certificate of another authority is not used: the sidecar enrols anew', { timeout }, async () => {
  using folder = temporaryFolder()
  using other = temporaryFolder()
  using own = temporaryFolder()
  const before = await startControl({ stateDir: other.path })
  const first = await startSidecar({ control: before, stateDir: own.path })
  await first.certificate.whenHeld()
  await first.stop()
  await before.stop()
  await using control = await startControl({ stateDir: folder.path })
  const log = new LinesLog()
  await using second = await startSidecar({ control, stateDir: own.path, log })
  const credentials = await second.certificate.whenHeld()
  assert.equal(credentials.trustBundlePem, control.authority.trustBundlePem)
  assert.ok(log.lines.some((line) => line.includes('of another authority than the pinned root')))
  assert.equal(await second.store.whenSynced(10_000), true)
})

test('a clock that is off by a day is named as the cause', { timeout }, async () => {
  const day = 86_400_000
  // TLS looks at the real time, so the control plane is the one that lives in another day.
  for (const offset of [day, -day]) {
    using folder = temporaryFolder()
    await using control = await startControl({ stateDir: folder.path, clock: wrongBy(offset) })
    await using sidecar = await startSidecar({ control })
    await eventually(() => sidecar.certificate.status().failure !== undefined, 'the sidecar notices')
    assert.match(
      sidecar.certificate.status().failure ?? '',
      /compare the clocks of this machine and of 127\.0\.0\.1:\d+ \(is NTP running\?\)/,
    )
  }
})

test('clocks that differ by five minutes do not matter', { timeout }, async () => {
  for (const offset of [4.9 * 60_000, -4.9 * 60_000]) {
    using folder = temporaryFolder()
    await using control = await startControl({ stateDir: folder.path, clock: wrongBy(offset) })
    await using sidecar = await startSidecar({ control })
    await sidecar.certificate.whenHeld()
    assert.equal(await sidecar.store.whenSynced(10_000), true)
  }
})

test('a half-open connection is found within 15 s and replaced', { timeout: 40_000 }, async () => {
  using folder = temporaryFolder()
  await using control = await startControl({ stateDir: folder.path })
  control.resources.set('service/shop/orders', 'v1')
  // Stands for a network that swallows packets: it forwards, until it does not, and closes nothing.
  const dead = new Set<Socket>()
  const pairs: [Socket, Socket][] = []
  const relay = createServer((near) => {
    const far = connect(control.server.port, '127.0.0.1')
    pairs.push([near, far])
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (chunk) => dead.has(from) || to.write(chunk))
      from.on('close', () => dead.has(from) || to.destroy())
      from.on('error', () => {})
    }
  })
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
  const address = relay.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  try {
    const { authority, tokens } = control
    await using sidecar = await startSidecar({ control: { address: `127.0.0.1:${port}`, authority, tokens } })
    const versions: (string | undefined)[] = []
    sidecar.store.watch('service/shop/orders', (resource) => versions.push(resource?.version))
    await eventually(() => versions.length === 1, 'v1')
    for (const sockets of pairs) for (const socket of sockets) dead.add(socket)
    const since = performance.now()
    control.resources.set('service/shop/orders', 'v2')
    await eventually(() => versions.length === 2, 'v2 by a new connection', 20_000)
    assert.ok(performance.now() - since < 16_000, `took ${performance.now() - since} ms`)
  } finally {
    relay.close()
    for (const sockets of pairs) for (const socket of sockets) socket.destroy()
  }
})
