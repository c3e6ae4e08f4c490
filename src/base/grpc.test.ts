import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { answer, begunCall, endCall, exchange, grpcExchange, trailersOnly } from '../../test/support/exchanges.ts'
import { WholeBody } from './body.ts'
import { MeshError } from './errors.ts'
import { Response } from './exchange.ts'
import {
  grpcFieldsOf,
  grpcMethodOf,
  grpcOfHttpStatus,
  grpcOfReset,
  grpcStatuses,
  grpcStatusName,
  grpcStatusOf,
} from './grpc.ts'

describe('what a gRPC call is', () => {
  const cases: readonly (readonly [method: string, type: string, is: boolean])[] = [
    ['POST', 'application/grpc', true],
    ['POST', 'application/grpc+proto', true],
    ['POST', 'application/grpc+json', true],
    ['POST', 'application/grpc;charset=x', true],
    ['POST', 'Application/gRPC', true],
    ['POST', 'application/grpc-web', false],
    ['POST', 'application/grpc-web+proto', false],
    ['POST', 'application/grpcx', false],
    ['POST', 'text/application/grpc', false],
    ['POST', 'application/json', false],
    ['GET', 'application/grpc', false],
    ['PUT', 'application/grpc', false],
  ]
  for (const [method, type, is] of cases) {
    test(`${method} ${type}: ${is}`, () => {
      assert.equal(exchange({ method, headers: ['x', 'y', 'Content-Type', type] }).isGrpc, is)
    })
  }
  test('not without a content type', () => assert.equal(exchange({ method: 'POST' }).isGrpc, false))

  test('a branch is what its origin is', () => {
    const call = grpcExchange()
    assert.equal(call.branch(call.request, call.body).isGrpc, true)
  })
})

describe('method of a call', () => {
  const cases: readonly (readonly [target: string, method: string])[] = [
    ['/shop.Orders/Get', 'shop.Orders/Get'],
    ['/grpc.health.v1.Health/Check', 'grpc.health.v1.Health/Check'],
    ['/Orders/get_2', 'Orders/get_2'],
    ['/shop.Orders', ''],
    ['/shop.Orders/', ''],
    ['//Get', ''],
    ['/a/shop.Orders/Get', ''],
    ['/shop.Orders/Get?x=1', ''],
    ['/shop.Orders/Get%20', ''],
    ['shop.Orders/Get', ''],
    ['*', ''],
    ['', ''],
  ]
  for (const [target, method] of cases) test(`${target} -> ${method}`, () => assert.equal(grpcMethodOf(target), method))
})

describe('how a call went', () => {
  test('trailers-only: known with the head', () => assert.equal(grpcStatusOf(trailersOnly(14)), 14))

  test('with messages: known at the end, from the trailers', () => {
    const response = begunCall()
    assert.equal(grpcStatusOf(response), -1)
    endCall(response, 13)
    assert.equal(grpcStatusOf(response), 13)
  })

  test('a status in the head of an answer with messages is none', () => {
    const response = new Response(200, '', ['grpc-status', '14'], new WholeBody('\0\0\0\0\0'))
    assert.equal(grpcStatusOf(response), -1)
    endCall(response, 0)
    assert.equal(grpcStatusOf(response), 0)
  })

  test('an end without a status is UNKNOWN, a break what the mesh says of it', () => {
    const ended = begunCall()
    endCall(ended, undefined)
    assert.equal(grpcStatusOf(ended), 2)
    assert.equal(grpcStatusOf(answer(200)), 2)
    const broken = begunCall()
    broken.finish(new MeshError('UPSTREAM_RESET', 'x'))
    assert.equal(grpcStatusOf(broken), 14)
    const late = begunCall()
    late.finish(new MeshError('DEADLINE', 'x'))
    assert.equal(grpcStatusOf(late), 4)
  })

  test('an answer that is no gRPC goes by its HTTP status', () => {
    assert.deepEqual(
      [400, 401, 403, 404, 429, 500, 502, 503, 504, 301].map((status) => grpcStatusOf(answer(status))),
      [13, 16, 7, 12, 14, 2, 14, 14, 14, 2],
    )
    assert.equal(grpcOfHttpStatus(418), 2)
  })

  test('a stream that is reset: by its error code', () => {
    assert.deepEqual(
      Array.from({ length: 14 }, (_, code) => grpcOfReset(code)),
      [13, 13, 13, 13, 13, 13, 13, 14, 1, 13, 13, 8, 7, 13],
    )
  })

  for (const text of ['17', '-1', '014', 'OK', '', '1e1', '99999999999999999999', ' 0']) {
    test(`grpc-status "${text}" is UNKNOWN`, () => {
      assert.equal(grpcStatusOf(answer(200, ['grpc-status', text])), 2)
    })
  }
})

test('names and numbers', () => {
  assert.equal(grpcStatuses.OK, 0)
  assert.equal(grpcStatuses.UNAVAILABLE, 14)
  assert.equal(grpcStatuses.UNAUTHENTICATED, 16)
  assert.equal(grpcStatusName(4), 'DEADLINE_EXCEEDED')
  assert.equal(grpcStatusName(-1), '')
  assert.equal(grpcStatusName(17), '')
})

test('what ends a call whose answer has begun', () => {
  assert.deepEqual(grpcFieldsOf(new MeshError('DEADLINE', '5 ms, 100 %')), [
    'grpc-status',
    '4',
    'grpc-message',
    'DEADLINE: 5 ms, 100 %25',
  ])
})
