/** One exchange at a time, judged at the client and at a raw recorder behind it (`test/attack/headers.ts`, `messages.ts`). */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { headerCases } from '../attack/headers.ts'
import { messageCases } from '../attack/messages.ts'
import type { WireCase } from '../attack/wire-case.ts'
import { type Lane, lanes, okAnswer, RecordingApp } from '../support/attack-lanes.ts'
import { Mesh } from '../support/mesh.ts'

const policies = `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: app, namespace: test }
spec:
  action: DENY
  rules:
    - to: [{ hosts: [secret.example] }]
    - from: [{ notIpBlocks: [10.0.0.0/8] }]
      to: [{ paths: [/office] }]
`

describe('messages through running sidecars', () => {
  const app = new RecordingApp()
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'app', tcp: app.serve }], policies })
  })
  after(() => mesh[Symbol.asyncDispose]())

  for (const name of ['outbound', 'inbound in plaintext', 'inbound over mTLS'] as const) {
    describe(name, () => {
      for (const one of [...headerCases, ...messageCases]) {
        if (one.lanes !== undefined && !one.lanes.includes(name)) continue
        it(`row ${one.row}: ${one.what} (${one.rule})`, async () => {
          const lane = lanes(mesh).find((known) => known.name === name)!
          await check(lane, one, app)
        })
      }
    })
  }
})

async function check(lane: Lane, one: WireCase, app: RecordingApp): Promise<void> {
  let resets = 0
  app.answer = (_request, socket) => {
    if (one.answer !== 'RESET') return one.answer ?? okAnswer
    resets++
    socket.resetAndDestroy()
    return ''
  }
  const got = await lane.send('app', one.send.replaceAll('HOST', 'app:8080'), one.until)
  app.answer = () => okAnswer
  // Whatever else had been sent on would be there before this.
  const last = await lane.send('app', 'GET /last HTTP/1.1\r\nHost: app:8080\r\n\r\n')
  assert.equal(last.status, 200, 'the next client is served')
  assert.match(last.text, /\r\n\r\n(?:ok)?$/, 'and with its own answer')
  const received = app.take()
  const [before = '', ...rest] = received.split('GET /last HTTP/1.1\r\n')
  assert.equal(rest.length, 1)

  assert.equal(got.status, one.status, got.text)
  for (const wanted of one.client ?? []) assert.match(got.text, wanted)
  for (const unwanted of one.clientNever ?? []) assert.doesNotMatch(got.text, unwanted)
  const requests = one.requests ?? (one.status < 400 ? 1 : 0)
  if (requests === 0) assert.equal(before, '', 'zero bytes upstream')
  assert.equal(before.match(/[A-Z]+ \S+ HTTP\/1\.1\r/g)?.length ?? 0, requests, before)
  if (one.answer === 'RESET') assert.equal(resets, requests)
  for (const wanted of one.app ?? []) assert.match(before, wanted)
  for (const unwanted of one.appNever ?? []) assert.doesNotMatch(before, unwanted)
}
