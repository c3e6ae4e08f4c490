/** gRPC's own cases of interoperability: grpc-go at both ends, two sidecars with mTLS between; and grpc-go against servers that misbehave. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { freePort } from '../support/free-port.ts'
import { Mesh } from '../support/mesh.ts'
import { BadServer, type BadServerCase } from './bad-server.ts'
import { type InteropServer, runPeer, startInteropServer } from './programs.ts'

const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: strict, namespace: test }
spec: { mtls: { mode: STRICT } }
`

/** The plain ones of https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md */
const plain = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'status_code_and_message',
  'special_status_message',
  'custom_metadata',
  'unimplemented_method',
  'unimplemented_service',
] as const

describe('interop of gRPC through two sidecars', { timeout: 180_000 }, () => {
  let server: InteropServer
  let bad: BadServer
  let mesh: Mesh
  const ports = { server: 0, bad: 0 }
  before(async () => {
    server = await startInteropServer()
    bad = await BadServer.start()
    ports.server = await freePort()
    ports.bad = await freePort()
    mesh = await Mesh.start({
      workloads: [
        {
          name: 'client',
          // These clients name the address that they dial: ports of their own stand for the Services.
          env: {
            OUTRIGGER_UPSTREAM: `127.0.0.1:${ports.server}=server:8080,127.0.0.1:${ports.bad}=bad:8080`,
          },
        },
        { name: 'server', runsAt: server.port, portName: 'grpc' },
        { name: 'bad', runsAt: bad.port, portName: 'grpc' },
      ],
      policies,
    })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    await bad?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  for (const name of plain) {
    it(name, async () => {
      const { code, stderr } = await runPeer('grpc-interop-client', [
        '-server_host=127.0.0.1',
        `-server_port=${ports.server}`,
        `-test_case=${name}`,
      ])
      assert.equal(code, 0, stderr)
      assert.match(stderr, / done$/m, 'it has done what it was asked for')
    })
  }

  interface Expected {
    /** What the client complains of with nothing in between, too. */
    readonly complains?: RegExp
    readonly check: () => void
  }
  const askedOnce = (): void => assert.equal(bad.requests, 1, 'what was answered is not asked again')
  const misbehaviour: Readonly<Record<BadServerCase, Expected>> = {
    goaway: { check: () => assert.ok(bad.connections >= 2, 'what came behind the GOAWAY had a new connection') },
    rst_after_header: { check: askedOnce },
    // It reads an answer that breaks off as INTERNAL, and expects another code of itself.
    rst_during_data: { complains: /Internal, want _, Unknown/, check: askedOnce },
    rst_after_data: { check: askedOnce },
    ping: {
      check: () =>
        assert.ok(bad.pings > 20 && bad.pongs === bad.pings, `${bad.pongs} of ${bad.pings} PINGs were answered`),
    },
    max_streams: { check: () => assert.ok(bad.requests >= 16, `${bad.requests} requests`) },
  }
  for (const [name, { complains, check }] of Object.entries(misbehaviour) as [BadServerCase, Expected][]) {
    it(`a server that misbehaves: ${name}`, async () => {
      bad.be(name)
      const at = ['-server_host=127.0.0.1', `-server_port=${ports.bad}`]
      const { code, stderr } = await runPeer('grpc-interop-http2', [...at, `-test_case=${name}`])
      if (complains !== undefined) assert.match(stderr, complains)
      else {
        assert.equal(code, 0, stderr)
        assert.match(stderr, new RegExp(` ${name} done$`, 'm'))
      }
      check()
      assert.deepEqual(bad.problems, [])
    })
  }
})
