import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { attemptOf, completionOf, exchangeOf } from '../../test/support/telemetry-exchange.ts'
import { MeshError } from '../base/errors.ts'
import { codeOf, headerValue, resultOf } from './result.ts'

const policy = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'only-web', version: '3' }

describe('resultOf', () => {
  it('says nothing about an ordinary answer', () => {
    const exchange = exchangeOf()
    exchange.attempts.push(attemptOf())
    assert.deepEqual(resultOf(exchange, completionOf(), ''), {
      status: 200,
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

describe('headerValue', () => {
  it('finds the first one whatever its case', () => {
    assert.equal(headerValue(['A', '1', 'X-Y', '2', 'x-y', '3'], 'x-y'), '2')
    assert.equal(headerValue(['A', '1'], 'x-y'), '')
  })
})
