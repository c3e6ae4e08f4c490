import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import { declaredProtocol } from './protocol.ts'

test('appProtocol decides, then the prefix of the name', () => {
  const table: [string | undefined, string | undefined, Protocol][] = [
    ['http', undefined, Protocol.HTTP1],
    ['HTTP', undefined, Protocol.HTTP1],
    ['kubernetes.io/h2c', 'http', Protocol.HTTP2],
    ['grpc', undefined, Protocol.HTTP2],
    ['h2c', undefined, Protocol.HTTP2],
    [undefined, 'grpc', Protocol.HTTP2],
    [undefined, 'grpc-orders', Protocol.HTTP2],
    [undefined, 'http2', Protocol.HTTP2],
    [undefined, 'http2-api', Protocol.HTTP2],
    [undefined, 'h2c', Protocol.HTTP2],
    ['tcp', 'http', Protocol.TCP],
    ['https', undefined, Protocol.TLS],
    ['kubernetes.io/wss', undefined, Protocol.TLS],
    [undefined, 'http', Protocol.HTTP1],
    [undefined, 'http-admin', Protocol.HTTP1],
    [undefined, 'grpc-web-api', Protocol.HTTP2],
    [undefined, 'tls-raw', Protocol.TLS],
    [undefined, 'tcp', Protocol.TCP],
    ['', 'tcp', Protocol.TCP],
  ]
  for (const [appProtocol, name, expected] of table) {
    assert.equal(declaredProtocol(appProtocol, name), expected, `${appProtocol} ${name}`)
  }
})

test('anything else is left to detection', () => {
  for (const name of [undefined, '', 'web', 'httpish', 'my-http', 'constructor', 'toString-x']) {
    assert.equal(declaredProtocol(undefined, name), Protocol.UNSPECIFIED, `${name}`)
  }
  assert.equal(declaredProtocol('example.com/custom', 'http'), Protocol.UNSPECIFIED)
})
