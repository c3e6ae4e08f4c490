import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { begunCall, endCall, trailersOnly } from '../../test/support/exchanges.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { completionOf, exchangeOf, MemorySink, testWorkload } from '../../test/support/telemetry-exchange.ts'
import { MeshError } from '../base/errors.ts'
import type { Completion, Exchange, Response } from '../base/exchange.ts'
import { record } from './record.ts'
import { type Direction, Telemetry } from './telemetry.ts'

function setUp() {
  const clock = new FakeClock()
  const telemetry = new Telemetry({
    clock,
    workload: testWorkload,
    tracesEndpoint: undefined,
    accessLog: 'off',
    stdout: new MemorySink(),
    env: {},
  })
  /** One call of `target` that is answered so. */
  const call = async (
    target: string,
    response: Response = trailersOnly(0),
    {
      completion = completionOf(),
      error,
      direction = 'outbound' as Direction,
      service = 'shop/orders',
    }: {
      completion?: Completion
      error?: MeshError
      direction?: Direction
      service?: string
    } = {},
  ): Promise<Exchange> => {
    const exchange = exchangeOf({
      method: 'POST',
      target,
      headers: ['content-type', 'application/grpc'],
      startedAt: clock.now(),
      direction,
    })
    exchange.response = await record(
      telemetry,
      direction,
    )((passed) => {
      passed.service = service
      passed.error = error
      return Promise.resolve(response)
    })(exchange)
    exchange.onComplete?.(completion)
    return exchange
  }
  const lines = async (name: string): Promise<string[]> =>
    (await telemetry.scrape()).split('\n').filter((line) => line.startsWith(`${name}{`))
  /** Method, status and number of each series. */
  const calls = async (): Promise<(readonly string[])[]> =>
    (await lines('outrigger_rpc_calls_total')).map((line) =>
      /rpc_method="(.*)",rpc_response_status_code="(.*)"\} (\d+)/.exec(line)!.slice(1),
    )
  return { clock, telemetry, call, calls, lines }
}

const fromServer = (grpcStatus: number): Response => {
  const response = begunCall()
  endCall(response, grpcStatus)
  return response
}

describe('metrics of gRPC calls', () => {
  it('count by method and status, whether it came with the head or in the trailers', async () => {
    const { call, calls } = setUp()
    await call('/shop.Orders/Get')
    await call('/shop.Orders/Get', fromServer(0))
    await call('/shop.Orders/Get', fromServer(13))
    await call('/shop.Orders/List', trailersOnly(5))
    assert.deepEqual(await calls(), [
      ['shop.Orders/Get', 'OK', '2'],
      ['shop.Orders/Get', 'INTERNAL', '1'],
      ['shop.Orders/List', 'NOT_FOUND', '1'],
    ])
  })

  it('time them', async () => {
    const { call, lines } = setUp()
    await call('/shop.Orders/Get')
    assert.deepEqual(await lines('outrigger_rpc_call_duration_seconds_count'), [
      'outrigger_rpc_call_duration_seconds_count{reporter="source",destination_service="shop/orders",rpc_method="shop.Orders/Get"} 1',
    ])
  })

  it('tell directions and Services apart', async () => {
    const { call, lines } = setUp()
    await call('/a.B/C')
    await call('/a.B/C', trailersOnly(0), { service: 'shop/stock' })
    await call('/a.B/C', trailersOnly(0), { direction: 'inbound', service: '' })
    assert.deepEqual(
      (await lines('outrigger_rpc_calls_total')).map((line) => line.slice(line.indexOf('{') + 1, line.indexOf(',rpc'))),
      [
        'reporter="source",destination_service="shop/orders"',
        'reporter="source",destination_service="shop/stock"',
        'reporter="destination",destination_service="unknown"',
      ],
    )
  })

  it('give no name to a method that no application knows', async () => {
    const { call, calls } = setUp()
    await call('/made.Up/One', trailersOnly(12))
    await call('/made.Up/Two', trailersOnly(7), { error: new MeshError('DENIED', 'x') })
    await call('/made.Up/Three', trailersOnly(7, ['x-outrigger-reason', 'DENIED; by=shop/orders-1']))
    await call('/made.Up/Four', trailersOnly(0), {
      completion: completionOf({ error: new MeshError('DOWNSTREAM_RESET', 'x') }),
    })
    await call('/not/a/method', trailersOnly(0))
    await call('/made.Up/Five?x=1', trailersOnly(0))
    assert.deepEqual(await calls(), [
      ['_OTHER', 'UNIMPLEMENTED', '1'],
      ['_OTHER', 'PERMISSION_DENIED', '2'],
      ['_OTHER', 'CANCELLED', '1'],
      ['_OTHER', 'OK', '2'],
    ])
  })

  it('keep the name of one that was answered, whatever happens to it later', async () => {
    const { call, calls } = setUp()
    await call('/shop.Orders/Get')
    await call('/shop.Orders/Get', trailersOnly(14), { error: new MeshError('OVERLOADED', 'x') })
    await call('/shop.Orders/Get', trailersOnly(12))
    assert.deepEqual(await calls(), [
      ['shop.Orders/Get', 'OK', '1'],
      ['shop.Orders/Get', 'UNAVAILABLE', '1'],
      ['shop.Orders/Get', 'UNIMPLEMENTED', '1'],
    ])
  })

  it('are bounded, and lose no call', async () => {
    const { call, calls } = setUp()
    for (let i = 0; i < 500; i++) await call(`/a.B/M${i}`)
    const rows = await calls()
    assert.equal(rows.length, 31)
    assert.equal(
      rows.reduce((sum, [, , count]) => sum + Number(count), 0),
      500,
    )
    assert.deepEqual(
      rows.find(([method]) => method === '_OTHER'),
      ['_OTHER', 'OK', '470'],
    )
  })

  it('stand beside those of requests, which have the status, too', async () => {
    const { call, lines } = setUp()
    await call('/shop.Orders/Get', trailersOnly(14))
    const [line] = await lines('outrigger_requests_total')
    assert.match(
      line!,
      /request_protocol="grpc".*response_code="200",response_flags="-",grpc_response_status="14"\} 1$/,
    )
  })

  it('count no other request', async () => {
    const { telemetry, lines } = setUp()
    const exchange = exchangeOf()
    exchange.response = await record(telemetry, 'outbound')(() => Promise.resolve(trailersOnly(0)))(exchange)
    exchange.onComplete?.(completionOf())
    assert.deepEqual(await lines('outrigger_rpc_calls_total'), [])
  })
})
