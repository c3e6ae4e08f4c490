import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { begunCall, endCall, trailersOnly } from '../../test/support/exchanges.ts'
import { attemptOf, completionOf, exchangeOf } from '../../test/support/telemetry-exchange.ts'
import { MeshError } from '../base/errors.ts'
import type { Exchange, Response } from '../base/exchange.ts'
import { grpcStatusNames } from '../base/grpc.ts'
import { codeOf, headerValue, resultOf } from './result.ts'

const policy = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'only-web', version: '3' }

describe('resultOf', () => {
  it('says nothing about an ordinary answer', () => {
    const exchange = exchangeOf()
    exchange.attempts.push(attemptOf())
    assert.deepEqual(resultOf(exchange, completionOf(), ''), {
      status: 200,
      grpcStatus: -1,
      flags: '-',
      code: '',
      reason: '',
      policy: undefined,
      failed: false,
    })
    assert.equal(resultOf(exchange, completionOf({ status: 404 }), '').failed, false)
  })

  it('names our own refusal with its policy', () => {
    const exchange = exchangeOf()
    exchange.error = new MeshError('DENIED', 'denied', { policy })
    const result = resultOf(exchange, completionOf({ status: 403 }), '')
    assert.deepEqual(result, {
      status: 403,
      grpcStatus: -1,
      flags: 'DENY',
      code: 'DENIED',
      reason: 'DENIED; policy=AuthorizationPolicy/shop/only-web; version=3',
      policy,
      failed: true,
    })
  })

  it("takes the peer sidecar's word for why it refused", () => {
    const header = 'DENIED; policy=AuthorizationPolicy/shop/only-web; version=3; by=shop/orders-1'
    const result = resultOf(exchangeOf(), completionOf({ status: 403 }), header)
    assert.equal(result.code, 'DENIED')
    assert.equal(result.reason, header)
    assert.deepEqual(result.policy, policy)
    assert.equal(result.failed, true)
  })

  it('makes no label of a word that is not ours', () => {
    for (const header of ['EVIL', 'toString', '__proto__', 'DENIEDX; policy=x', '; DENIED']) {
      assert.equal(codeOf(header), '', header)
      assert.equal(resultOf(exchangeOf(), completionOf({ status: 403 }), header).failed, false)
    }
  })

  it('flags repeated tries that failed, and delays', () => {
    const exchange = exchangeOf()
    const error = new MeshError('UPSTREAM_CONNECT', 'refused')
    exchange.attempts.push(attemptOf({ status: 0, error, faultDelayMs: 5 }), attemptOf({ number: 2, status: 0, error }))
    exchange.error = error
    assert.equal(resultOf(exchange, completionOf({ status: 503 }), '').flags, 'UF,URX,DI')
    const rescued = exchangeOf()
    rescued.attempts.push(attemptOf({ status: 0, error }), attemptOf({ number: 2 }))
    assert.equal(resultOf(rescued, completionOf(), '').flags, '-')
    const stillBad = exchangeOf()
    stillBad.attempts.push(attemptOf({ status: 503 }), attemptOf({ number: 2, status: 503 }))
    assert.equal(resultOf(stillBad, completionOf({ status: 503 }), '').flags, 'URX')
  })

  it('does not blame the upstream for a client that went away', () => {
    const gone = completionOf({ status: 0, error: new MeshError('DOWNSTREAM_RESET', 'gone') })
    const result = resultOf(exchangeOf(), gone, '')
    assert.equal(result.failed, false)
    assert.equal(result.flags, 'DC')
  })

  it('counts a body that broke off as failed although its status was 200', () => {
    const broken = completionOf({ error: new MeshError('UPSTREAM_RESET', 'reset in the body') })
    assert.equal(resultOf(exchangeOf(), broken, '').failed, true)
  })

  it('counts an application 5xx as failed without a code', () => {
    const result = resultOf(exchangeOf(), completionOf({ status: 500 }), '')
    assert.equal(result.failed, true)
    assert.equal(result.code, '')
    assert.equal(result.flags, '-')
  })
})

describe('resultOf of a gRPC call', () => {
  const call = (response?: Response): Exchange => {
    const exchange = exchangeOf({ method: 'POST', headers: ['content-type', 'application/grpc'] })
    exchange.response = response
    exchange.attempts.push(attemptOf())
    return exchange
  }
  const of = (response: Response, completion = completionOf(), reason = '') =>
    resultOf(call(response), completion, reason)

  it('has the status of its trailers, or of a head that has nothing behind it', () => {
    const streamed = begunCall()
    endCall(streamed, 5)
    assert.deepEqual([of(streamed).grpcStatus, of(streamed).failed], [5, false])
    assert.deepEqual([of(trailersOnly(0)).grpcStatus, of(trailersOnly(0)).failed], [0, false])
  })

  it('counts as failed what counts against a server', () => {
    const failed = grpcStatusNames.filter((_, status) => of(trailersOnly(status)).failed)
    assert.deepEqual(failed, ['UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'])
  })

  it('is what the client saw, where it broke off', () => {
    const response = begunCall()
    endCall(response, 0)
    const gone = of(response, completionOf({ error: new MeshError('DOWNSTREAM_RESET', 'gone') }))
    assert.deepEqual([gone.grpcStatus, gone.failed, gone.flags], [1, false, 'DC'])
    const lost = of(begunCall(), completionOf({ error: new MeshError('UPSTREAM_RESET', 'lost') }))
    assert.deepEqual([lost.grpcStatus, lost.failed, lost.flags], [14, true, 'UC'])
  })

  it('knows a refusal, ours or the peer sidecar’s, though its HTTP status is 200', () => {
    const ours = call(trailersOnly(7))
    ours.error = new MeshError('DENIED', 'denied', { policy })
    const own = resultOf(ours, completionOf(), '')
    assert.deepEqual([own.grpcStatus, own.code, own.flags, own.failed], [7, 'DENIED', 'DENY', true])
    const theirs = of(trailersOnly(7), completionOf(), 'DENIED; by=shop/orders-1')
    assert.deepEqual([theirs.grpcStatus, theirs.code, theirs.failed], [7, 'DENIED', true])
  })

  it('flags repeated tries that failed', () => {
    const exchange = call(trailersOnly(14))
    exchange.attempts.push(attemptOf({ number: 2 }))
    assert.equal(resultOf(exchange, completionOf(), '').flags, 'URX')
  })

  it('is told without an answer', () => {
    const exchange = call()
    exchange.error = new MeshError('OVERLOADED', 'x')
    assert.equal(resultOf(exchange, completionOf(), '').grpcStatus, 14)
    assert.equal(resultOf(call(), completionOf({ status: 404 }), '').grpcStatus, 12)
  })
})

describe('headerValue', () => {
  it('finds the first one whatever its case', () => {
    assert.equal(headerValue(['A', '1', 'X-Y', '2', 'x-y', '3'], 'x-y'), '2')
    assert.equal(headerValue(['A', '1'], 'x-y'), '')
  })
})
