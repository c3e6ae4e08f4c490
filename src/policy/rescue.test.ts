import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answer, exchange, grpcExchange } from '../../test/support/exchanges.ts'
import { errorCodes, MeshError, type MeshErrorCode } from '../base/errors.ts'
import type { Headers, Response } from '../base/exchange.ts'
import { grpcStatusOf } from '../base/grpc.ts'
import { rescue } from './rescue.ts'

const policy = { kind: 'BackendPolicy', namespace: 'shop', name: 'orders', version: '7' }

function header(headers: Headers, name: string): string | undefined {
  const at = headers.indexOf(name)
  return at === -1 ? undefined : headers[at + 1]
}

async function answerTo(error: unknown, request = exchange()): Promise<{ response: Response; logged: unknown[] }> {
  const logged: unknown[] = []
  const layer = rescue({ log: { error: (fields) => logged.push(fields) }, by: 'shop/web-1' })
  const response = await layer(() => Promise.reject(error))(request)
  return { response, logged }
}

for (const code of Object.keys(errorCodes) as MeshErrorCode[]) {
  test(`${code} becomes ${errorCodes[code].http}`, async () => {
    const request = exchange()
    const error = new MeshError(code, 'what happened', { policy })
    const { response } = await answerTo(error, request)
    assert.equal(response.status, errorCodes[code].http)
    assert.notEqual(response.reason, '')
    assert.equal(
      header(response.headers, 'x-outrigger-reason'),
      `${code}; policy=BackendPolicy/shop/orders; version=7; by=shop/web-1`,
    )
    assert.equal(header(response.headers, 'content-type'), 'text/plain; charset=utf-8')
    assert.match(response.body.whole!, new RegExp(`^${code}: `))
    assert.equal(request.error, error)
    assert.equal(response.finished, true)
  })

  test(`${code} becomes grpc-status ${errorCodes[code].grpc}`, async () => {
    const { response } = await answerTo(new MeshError(code, 'what happened'), grpcExchange())
    assert.equal(response.status, 200)
    assert.equal(header(response.headers, 'grpc-status'), String(errorCodes[code].grpc))
    assert.match(header(response.headers, 'grpc-message')!, new RegExp(`^${code}: `))
    assert.equal(header(response.headers, 'content-type'), 'application/grpc')
    assert.equal(header(response.headers, 'x-outrigger-reason'), `${code}; by=shop/web-1`)
    // Trailers-Only: a status that stood in trailers as well would be two.
    assert.equal(response.body.whole, '')
    assert.equal(response.trailers, undefined)
    assert.equal(grpcStatusOf(response), errorCodes[code].grpc)
  })
}

test('a response passes untouched', async () => {
  const response = answer(500)
  const got = await rescue({ log: { error: () => assert.fail() }, by: 'x' })(() => Promise.resolve(response))(
    exchange(),
  )
  assert.equal(got, response)
  assert.deepEqual(got.headers, [])
})

test('only an unexpected error is logged, with its stack, and its message stays inside', async () => {
  const bug = new TypeError('secret detail')
  const { response, logged } = await answerTo(bug)
  assert.equal(response.status, 500)
  assert.deepEqual(logged, [{ err: bug }])
  assert.ok(!response.body.whole!.includes('secret'))
  assert.deepEqual((await answerTo(new MeshError('DENIED', 'no'))).logged, [])
})

test('something that is no Error is still answered', async () => {
  assert.equal((await answerTo('a string')).response.status, 500)
})

test('an injected reset passes, so that the connection ends', async () => {
  const request = exchange()
  const error = new MeshError('FAULT_ABORTED', 'reset', { reset: true })
  await assert.rejects(answerTo(error, request), error)
  assert.equal(request.error, error)
})

test('the status of a policy beats the table', async () => {
  assert.equal((await answerTo(new MeshError('FAULT_ABORTED', 'x', { status: 418 }))).response.status, 418)
})

const injected: [number, string][] = [
  [400, '13'],
  [401, '16'],
  [403, '7'],
  [404, '12'],
  [429, '14'],
  [500, '2'],
  [502, '14'],
  [504, '14'],
  [418, '2'],
]
for (const [status, grpc] of injected) {
  test(`an injected ${status} is grpc-status ${grpc}`, async () => {
    const { response } = await answerTo(new MeshError('FAULT_ABORTED', 'x', { status }), grpcExchange())
    assert.equal(header(response.headers, 'grpc-status'), grpc)
  })
}

test('the gRPC status of a policy beats both', async () => {
  const error = new MeshError('FAULT_ABORTED', 'x', { status: 503, grpc: 8 })
  assert.equal(header((await answerTo(error, grpcExchange())).response.headers, 'grpc-status'), '8')
  assert.equal((await answerTo(error)).response.status, 503)
})

test('a mistake of ours keeps its message inside for a gRPC call, too', async () => {
  const { response } = await answerTo(new TypeError('secret detail'), grpcExchange())
  assert.match(header(response.headers, 'grpc-message')!, /^UNEXPECTED: the mesh failed/)
})

test('grpc-message is percent-encoded', async () => {
  const { response } = await answerTo(new MeshError('DENIED', '100 % é\n'), grpcExchange())
  assert.equal(header(response.headers, 'grpc-message'), 'DENIED: 100 %25 %C3%A9%0A')
})

test('grpc-web is not gRPC', async () => {
  const request = exchange({ method: 'POST', headers: ['content-type', 'application/grpc-web'] })
  assert.equal((await answerTo(new MeshError('DENIED', 'x'), request)).response.status, 403)
})

test('HEAD gets no body', async () => {
  assert.equal((await answerTo(new MeshError('DENIED', 'x'), exchange({ method: 'HEAD' }))).response.body.length, 0)
})

test('what passes soon says when to come again, what does not is silent', async () => {
  const overloaded = await answerTo(new MeshError('OVERLOADED', 'x'))
  assert.equal(header(overloaded.response.headers, 'retry-after'), '1')
  const denied = await answerTo(new MeshError('DENIED', 'x'))
  assert.equal(header(denied.response.headers, 'retry-after'), undefined)
})
