import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { Metadata, type ServerUnaryCall, type ServiceError, status } from '@grpc/grpc-js'
import { SignJWT } from 'jose'
import {
  type CertificateRequest,
  CertificateRequestSchema,
  type CertificateResponse,
} from '../../src/api/gen/outrigger_pb.ts'
import { createLog } from '../../src/base/log.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { newPrivateKeyPem, signingRequest } from '../../src/identity/signing-request.ts'
import { temporaryFolder } from '../../test/support/control.ts'
import { FakeApi } from '../../test/support/fake-api.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { reviewWith } from '../cluster-stores.ts'
import { Authority } from './authority.ts'
import { IdentityService } from './service.ts'
import { ClusterTokens, type ReviewToken, TokenReviewUnavailable } from './token-review.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

interface Claims {
  readonly aud?: string | string[]
  readonly sub?: string
  readonly exp?: number
}

function tokenOf(clock: FakeClock, claims: Claims = {}): Promise<string> {
  return new SignJWT({ 'kubernetes.io': { namespace: 'shop' } })
    .setProtectedHeader({ alg: 'ES256' })
    .setSubject(claims.sub ?? 'system:serviceaccount:shop:web')
    .setAudience(claims.aud ?? ['outrigger'])
    .setExpirationTime(claims.exp ?? Math.floor(clock.wall() / 1_000) + 3_600)
    .sign(privateKey)
}

const review = (over: object) => ({ status: 201, body: { status: over } })
const yes = (username = 'system:serviceaccount:shop:web') =>
  review({ authenticated: true, audiences: ['outrigger'], user: { username } })
const no = review({ authenticated: false, error: 'invalid bearer token' })

interface Case {
  readonly that: string
  readonly token?: Claims | string
  readonly answer: ReturnType<typeof review> | 'cut' | 'hang' | { status: number; body?: unknown }
  readonly code: status
  readonly cause: string
  readonly says: RegExp
  readonly isAsked?: boolean
}

const cases: readonly Case[] = [
  {
    that: 'a token that the Pod uses with the API server',
    token: { aud: 'https://kubernetes.default.svc' },
    answer: yes(),
    code: status.UNAUTHENTICATED,
    cause: 'wrong-audience',
    says: /is for https:\/\/kubernetes\.default\.svc, not for outrigger/,
    isAsked: false,
  },
  {
    that: 'a token for us that the API server checked for nobody',
    answer: review({ authenticated: true, user: { username: 'system:serviceaccount:shop:web' } }),
    code: status.UNAUTHENTICATED,
    cause: 'wrong-audience',
    says: /did not check the audience/,
  },
  {
    that: 'a token of another cluster',
    answer: no,
    code: status.UNAUTHENTICATED,
    cause: 'wrong-key',
    says: /of another cluster, or of a Pod that is gone/,
  },
  {
    that: 'an expired token',
    token: { exp: Date.UTC(2025, 11, 31) / 1_000 },
    answer: no,
    code: status.UNAUTHENTICATED,
    cause: 'expired',
    says: /expired at 2025-12-31T00:00:00\.000Z, it is 2026-01-01/,
  },
  {
    that: 'no JWT',
    token: 'x'.repeat(40),
    answer: yes(),
    code: status.UNAUTHENTICATED,
    cause: 'malformed',
    says: /not a JWT/,
    isAsked: false,
  },
  {
    that: 'a token too long to be one',
    token: 'x'.repeat(20_000),
    answer: yes(),
    code: status.UNAUTHENTICATED,
    cause: 'malformed',
    says: /too long/,
    isAsked: false,
  },
  {
    that: 'a token of a person',
    answer: yes('kubernetes-admin'),
    code: status.UNAUTHENTICATED,
    cause: 'malformed',
    says: /not one of a service account/,
  },
  {
    that: 'a token of the control plane',
    answer: yes('system:serviceaccount:outrigger-system:outrigger-control-plane'),
    code: status.UNAUTHENTICATED,
    cause: 'malformed',
    says: /nobody enrols as the control plane/,
  },
  {
    that: 'an API server that cuts the connection',
    answer: 'cut',
    code: status.UNAVAILABLE,
    cause: 'unavailable',
    says: /cannot be asked/,
  },
  {
    that: 'an API server that hangs',
    answer: 'hang',
    code: status.UNAVAILABLE,
    cause: 'unavailable',
    says: /cannot be asked/,
  },
  {
    that: 'an API server that refuses us, repeating what it was sent',
    answer: { status: 422, body: { reason: 'Invalid', message: 'spec.token: Invalid value: "TOKEN"' } },
    code: status.UNAVAILABLE,
    cause: 'unavailable',
    says: /cannot be asked/,
  },
]

for (const { that, token: given = {}, answer, code, cause, says, isAsked = true } of cases) {
  it(`${that}: ${cause}, counted, and no line has the token`, async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    await using api = await FakeApi.start()
    const clock = new FakeClock()
    const token = typeof given === 'string' ? given : await tokenOf(clock, given)
    api.intercepts.push(({ path }) => {
      if (!path.endsWith('/tokenreviews')) return undefined
      if (typeof answer === 'string') return answer
      return { ...answer, body: JSON.parse(JSON.stringify(answer.body ?? {}).replaceAll('TOKEN', token)) as object }
    })
    const lines: string[] = []
    const log = createLog({ clock, service: 't', level: 'debug', format: 'json', write: (line) => lines.push(line) })
    const service = await identityService(state, clock, api, log)
    const failing = sign(service, token).then(
      () => undefined,
      (failure: ServiceError) => failure,
    )
    if (answer === 'hang') {
      await until(() => api.asked.length > 0)
      await clock.advance(8_000)
    }
    const error = await failing
    assert.equal(error?.code, code)
    assert.match(error?.details ?? '', says)
    assert.deepEqual([...service.refusals], [[cause, 1]])
    assert.equal(api.asked.length, isAsked ? 1 : 0)
    const everything = `${lines.join('')} ${error?.details}`
    assert.match(lines.join(''), new RegExp(`"fault":"${cause}"`))
    for (const part of [token, ...token.split('.').filter((text) => text.length > 20)])
      assert.ok(!everything.includes(part), 'a secret in the log')
  })
}

it('a good token gets a certificate of its own name, whatever the clock here says', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  await using api = await FakeApi.start()
  const clock = new FakeClock()
  api.intercepts.push(({ path }) => (path.endsWith('/tokenreviews') ? yes() : undefined))
  const lines: string[] = []
  const log = createLog({ clock, service: 't', level: 'debug', format: 'json', write: (line) => lines.push(line) })
  const service = await identityService(state, clock, api, log)
  // By our clock it is over; the API server's counts.
  const token = await tokenOf(clock, { exp: Math.floor(clock.wall() / 1_000) - 60 })
  const { certificateChain } = await sign(service, token)
  assert.match(certificateChain, /BEGIN CERTIFICATE/)
  assert.deepEqual(JSON.parse(api.asked[0]!.body), {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: ['outrigger'] },
  })
  assert.match(lines.join(''), /certificate issued to spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/)
  assert.ok(!lines.join('').includes(token.split('.')[2]!))
  assert.equal(service.refusals.size, 0)
})

it('asks for at most twenty tokens at a time, and for the next when one is answered', async () => {
  const clock = new FakeClock()
  const waiting: PromiseWithResolvers<Awaited<ReturnType<ReviewToken>>>[] = []
  const tokens = new ClusterTokens({
    audience: 'outrigger',
    wall: () => clock.wall(),
    review: () => {
      const answer = Promise.withResolvers<Awaited<ReturnType<ReviewToken>>>()
      waiting.push(answer)
      return answer.promise
    },
  })
  const token = await tokenOf(clock)
  const checks = Array.from({ length: 50 }, () => tokens.check(token))
  const outcomes = Promise.allSettled(checks)
  await settle()
  assert.equal(waiting.length, 20)
  // One that fails makes room, too.
  waiting[0]!.reject(new Error('reset'))
  waiting[1]!.resolve({
    authenticated: true,
    audiences: ['outrigger'],
    user: { username: 'system:serviceaccount:a:b' },
  })
  await settle()
  assert.equal(waiting.length, 22)
  for (let at = 2; at < 50; at++) {
    waiting[at]!.resolve({ authenticated: false })
    await settle()
  }
  const [first, second] = await outcomes
  assert.ok(first?.status === 'rejected' && first.reason instanceof TokenReviewUnavailable)
  assert.deepEqual(second, { status: 'fulfilled', value: { namespace: 'a', serviceAccount: 'b' } })
})

async function identityService(
  state: StateFolder,
  clock: FakeClock,
  api: FakeApi,
  log: ReturnType<typeof createLog>,
): Promise<IdentityService> {
  const settings = { clock, trustDomain: 'cluster.local', certificateLifetimeMs: 3_600_000 }
  const authority = await Authority.open({ ...settings, state })
  const tokens = new ClusterTokens({
    review: reviewWith(api.cluster(clock)),
    audience: 'outrigger',
    wall: () => clock.wall(),
  })
  return new IdentityService({ authority, tokens, log, proofOf: () => ({ is: 'none' }) })
}

async function sign(service: IdentityService, token: string): Promise<CertificateResponse> {
  const csr = signingRequest(await newPrivateKeyPem())
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  const call = { request: create(CertificateRequestSchema, { csr }), metadata, getPeer: () => '10.0.0.1:5' }
  return new Promise((resolve, reject) => {
    service.signCertificate(
      call as unknown as ServerUnaryCall<CertificateRequest, CertificateResponse>,
      (error, response) => (error === null ? resolve(response!) : reject(error as unknown as Error)),
    )
  })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await settle()
}
