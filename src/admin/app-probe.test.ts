import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { makeRoot } from '../../control-plane/identity/signer.ts'
import type { AppProbe, HttpProbe } from '../api/app-probe.ts'
import { systemClock } from '../base/clock.ts'
import { probeApp } from './app-probe.ts'
import type { ProbeResult } from './probe-call.ts'

const address = '127.0.0.1'
const deliveryAddress = '127.0.0.6'

interface Dialled {
  readonly sockets: net.Socket[]
}

function probe(
  asked: AppProbe,
  headers: http.IncomingHttpHeaders = {},
  dialled: Dialled = { sockets: [] },
): Promise<ProbeResult> {
  const dial = (host: string, port: number): net.Socket => {
    const socket = net.connect({ host, port, localAddress: deliveryAddress })
    dialled.sockets.push(socket)
    return socket
  }
  return probeApp(asked, { address, headers }, dial, systemClock)
}

async function listening(test: TestContext, server: net.Server): Promise<number> {
  server.listen(0, address)
  await once(server, 'listening')
  test.after(() => server.close())
  return (server.address() as AddressInfo).port
}

async function app(test: TestContext, listener: RequestListener): Promise<HttpProbe> {
  const server = http.createServer(listener)
  test.after(() => server.closeAllConnections())
  const port = await listening(test, server)
  return { kind: 'http', port, path: '/healthz?full=1', tls: false, headers: [], timeoutMs: 2_000 }
}

const answers =
  (status: number, headers: http.OutgoingHttpHeaders = {}): RequestListener =>
  (_request, response) =>
    response.writeHead(status, headers).end('text')

describe('an HTTP probe', () => {
  it("follows the kubelet's rule: 200 to 399 is success, what else the application says is passed on", async (test) => {
    for (const [status, seen] of [
      [200, 200],
      [204, 200],
      [302, 200],
      [304, 200],
      [400, 400],
      [404, 404],
      [500, 500],
      [503, 503],
    ] as const) {
      const { status: got, reason } = await probe(await app(test, answers(status)))
      assert.equal(got, seen)
      assert.equal(reason, `the application answered ${status}`)
    }
  })

  it('sends what the document says, and else what the kubelet sends, from the address of deliveries', async (test) => {
    const seen: { request: IncomingMessage; from: string | undefined }[] = []
    const asked = await app(test, (request, response) => {
      seen.push({ request, from: request.socket.remoteAddress })
      response.end()
    })
    const kubelet = { 'user-agent': 'kube-probe/1.33', accept: '*/*', host: 'x:15020', cookie: 'no' }
    await probe(asked, kubelet)
    await probe(
      {
        ...asked,
        headers: [
          ['Host', 'shop.example'],
          ['X-A', '1'],
          ['X-A', '2'],
          ['Accept', ''],
        ],
      },
      kubelet,
    )
    const [plain, rich] = seen.map(({ request }) => request)
    assert.equal(plain!.url, '/healthz?full=1')
    assert.equal(seen[0]!.from, deliveryAddress)
    assert.deepEqual(plain!.headers, {
      host: `${address}:${asked.port}`,
      'user-agent': 'kube-probe/1.33',
      accept: '*/*',
      connection: 'close',
    })
    assert.deepEqual(rich!.headers, {
      host: 'shop.example',
      'x-a': '1, 2',
      'user-agent': 'kube-probe/1.33',
      connection: 'close',
    })
  })

  it('follows a redirect to the same host, with the Host of the document, and no other', async (test) => {
    const seen: string[] = []
    const asked = await app(test, (request, response) => {
      seen.push(`${request.headers.host} ${request.url}`)
      if (request.url === '/up') answers(200)(request, response)
      else if (request.url === '/else') answers(301, { location: 'http://somewhere.example/up' })(request, response)
      else answers(307, { location: request.url === '/broken' ? 'http://[' : 'up' })(request, response)
    })
    const headers = [['Host', 'shop.example']] as const
    assert.equal((await probe({ ...asked, path: '/', headers })).reason, 'the application answered 200')
    assert.deepEqual(seen.splice(0), ['shop.example /', 'shop.example /up'])
    assert.deepEqual(await probe({ ...asked, path: '/else' }), { status: 200, reason: 'the application answered 301' })
    assert.equal(seen.splice(0).length, 1)
    assert.equal((await probe({ ...asked, path: '/broken' })).status, 502)
  })

  it('does not follow redirects for ever', async (test) => {
    let seen = 0
    const asked = await app(test, (request, response) => {
      seen++
      answers(302, { location: '/again' })(request, response)
    })
    assert.deepEqual(await probe(asked), { status: 502, reason: 'stopped after 10 redirects' })
    assert.equal(seen, 10)
  })

  it('reads no more of an endless body than the kubelet does', async (test) => {
    const asked = await app(test, (_request, response) => {
      response.writeHead(200)
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(8_192)));
        if (!response.destroyed) response.once('drain', more)
      }
      more()
    })
    assert.equal((await probe(asked)).status, 200)
  })

  it('fails when its time is over, whatever the application is doing', async (test) => {
    const silent = await app(test, () => {})
    const slow = await app(test, (_request, response) => void response.writeHead(200).write('begun'))
    for (const asked of [silent, slow]) {
      const dialled: Dialled = { sockets: [] }
      const result = await probe({ ...asked, timeoutMs: 60 }, {}, dialled)
      assert.deepEqual(result, { status: 504, reason: 'no answer within 60 ms' })
      assert.ok(dialled.sockets.length > 0)
      assert.ok(dialled.sockets.every((socket) => socket.destroyed))
    }
  })

  it('says why there was no answer', async (test) => {
    const asked = await app(test, (request) => request.socket.destroy())
    assert.equal((await probe(asked)).status, 503)
    const server = net.createServer(
      (socket) =>
        void socket
          .on('error', () => {})
          .resume()
          .end('nonsense'),
    )
    const port = await listening(test, server)
    assert.match((await probe({ ...asked, port })).reason, /Parse Error/)
    server.close()
    await once(server, 'close')
    assert.deepEqual(await probe({ ...asked, port }), { status: 503, reason: `nothing listens on ${address}:${port}` })
  })

  it('asks over TLS without a look at the certificate', async (test) => {
    const settings = { clock: systemClock, trustDomain: 'nobody.knows', certificateLifetimeMs: 60_000 }
    const { key, certificate: cert } = await makeRoot(settings)
    const server = https.createServer({ key, cert }, answers(200))
    const port = await listening(test, server)
    const asked = { kind: 'http', port, path: '/', tls: true, headers: [], timeoutMs: 5_000 } as const
    assert.deepEqual(await probe(asked), { status: 200, reason: 'the application answered 200' })
    const plain = await app(test, answers(200))
    assert.equal((await probe({ ...plain, tls: true })).status, 503)
  })
})

describe('a TCP probe', () => {
  it('is content with a connection', async (test) => {
    const server = net.createServer()
    const port = await listening(test, server)
    const dialled: Dialled = { sockets: [] }
    assert.equal((await probe({ kind: 'tcp', port, timeoutMs: 1_000 }, {}, dialled)).status, 200)
    assert.equal(dialled.sockets[0]!.destroyed, true)
    server.close()
    await once(server, 'close')
    assert.deepEqual(await probe({ kind: 'tcp', port, timeoutMs: 1_000 }), {
      status: 503,
      reason: `nothing listens on ${address}:${port}`,
    })
  })
})

describe('a gRPC probe', () => {
  /** Answers a health check with these bytes and this status. */
  async function health(test: TestContext, answer: (service: string, stream: http2.ServerHttp2Stream) => void) {
    const server = http2.createServer()
    server.on('stream', (stream, headers) => {
      assert.equal(headers[':path'], '/grpc.health.v1.Health/Check')
      assert.equal(headers['content-type'], 'application/grpc')
      stream.once('data', (frame: Buffer) => answer(frame.subarray(7).toString(), stream as http2.ServerHttp2Stream))
    })
    const port = await listening(test, server)
    return { kind: 'grpc', port, service: 'shop', timeoutMs: 2_000 } as const
  }
  const reply =
    (message: readonly number[], status = '0') =>
    (_service: string, stream: http2.ServerHttp2Stream): void => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }))
      stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]))
    }

  it('is content with SERVING only', async (test) => {
    assert.deepEqual(await probe(await health(test, reply([8, 1]))), {
      status: 200,
      reason: 'the application is SERVING',
    })
    assert.equal((await probe(await health(test, reply([8, 2])))).reason, 'the application is NOT_SERVING')
    assert.deepEqual(await probe(await health(test, reply([]))), { status: 503, reason: 'the application is UNKNOWN' })
    assert.equal((await probe(await health(test, reply([9, 9, 9])))).status, 502)
  })

  it('asks for the service of the document', async (test) => {
    const asked = await health(test, (service, stream) => reply([8, service === 'shop' ? 1 : 2])(service, stream))
    assert.equal((await probe(asked)).status, 200)
    assert.equal((await probe({ ...asked, service: 'other' })).status, 503)
  })

  it('says what is wrong with other answers', async (test) => {
    const only =
      (headers: http2.OutgoingHttpHeaders) =>
      (_service: string, stream: http2.ServerHttp2Stream): void =>
        stream.respond(headers, { endStream: true })
    assert.equal((await probe(await health(test, only({ ':status': 200, 'grpc-status': '12' })))).status, 501)
    assert.match((await probe(await health(test, only({ ':status': 200, 'grpc-status': '5' })))).reason, /no service/)
    assert.match((await probe(await health(test, only({ ':status': 404 })))).reason, /HTTP 404, not gRPC/)
    const silent = await health(test, () => {})
    assert.equal((await probe({ ...silent, timeoutMs: 60 })).status, 504)
    const { port } = await app(test, answers(200))
    assert.equal((await probe({ ...silent, port })).status, 503)
  })
})
