import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { call, Mesh } from '../support/mesh.ts'

describe('HTTP/1.1 through two sidecars over mTLS', () => {
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        {
          name: 'server',
          app: (req, res) => {
            switch (new URL(req.url ?? '/', 'http://x').pathname) {
              case '/echo':
                res.writeHead(200, {
                  'x-method': req.method,
                  'x-framing': req.headers['transfer-encoding'] ?? req.headers['content-length'] ?? 'none',
                })
                req.pipe(res)
                return
              case '/chunks':
                res.setHeader('trailer', 'x-sum')
                res.write('one,')
                res.write('two')
                res.addTrailers({ 'x-sum': '2' })
                res.end()
                return
              case '/early-hints':
                res.writeEarlyHints({ link: '</a.css>; rel=preload' })
                res.end('hinted')
                return
              case '/204':
                res.writeHead(204).end()
                return
              case '/304':
                res.writeHead(304, { etag: '"1"' }).end()
                return
              case '/spoof':
                res.setHeader('x-outrigger-reason', 'DENIED; policy=none')
                res.end('spoofed')
                return
              default:
                res.setHeader('x-seen', JSON.stringify(req.headers))
                res.end(`hello from ${req.headers.host}`)
            }
          },
        },
      ],
      policies: strict,
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  const client = () => mesh.get('client')

  it('answers, and the authority is what the caller named', async () => {
    const answer = await call(client(), 'http://server:8080/')
    assert.equal(answer.status, 200)
    assert.equal(answer.body, 'hello from server:8080')
  })

  for (const name of [
    'server:8080',
    'server.test:8080',
    'server.test.svc:8080',
    'server.test.svc.cluster.local:8080',
    'SERVER.Test:8080',
  ]) {
    it(`knows the service as ${name}`, async () => assert.equal((await call(client(), `http://${name}/`)).status, 200))
  }

  it('relays a counted body both ways', async () => {
    const body = Buffer.alloc(300_000, 'x')
    const answer = await call(client(), 'http://server:8080/echo', { method: 'POST', body })
    assert.equal(answer.body, body.toString())
    assert.equal(answer.headers['x-framing'], '300000')
  })

  it('relays a chunked body both ways', async () => {
    const answer = await call(client(), 'http://server:8080/echo', {
      method: 'POST',
      body: 'abc',
      headers: { 'transfer-encoding': 'chunked' },
    })
    assert.equal(answer.body, 'abc')
    assert.equal(answer.headers['x-framing'], 'chunked')
  })

  it('relays trailers', async () => {
    const { outbound } = client()
    const request = http.get({
      host: outbound.host,
      port: outbound.port,
      path: 'http://server:8080/chunks',
      agent: false,
    })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    response.resume()
    await once(response, 'end')
    assert.deepEqual(response.trailers, { 'x-sum': '2' })
  })

  it('relays 103 Early Hints', async () => {
    const { outbound } = client()
    const request = http.get({
      host: outbound.host,
      port: outbound.port,
      path: 'http://server:8080/early-hints',
      agent: false,
    })
    const hints = once(request, 'information') as Promise<[{ statusCode: number; headers: http.IncomingHttpHeaders }]>
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    response.resume()
    const [hint] = await hints
    assert.equal(hint.statusCode, 103)
    assert.equal(hint.headers['link'], '</a.css>; rel=preload')
  })

  it('Expect: 100-continue is answered by the application, then the body flows', async () => {
    const { outbound } = client()
    const request = http.request({
      host: outbound.host,
      port: outbound.port,
      path: 'http://server:8080/echo',
      method: 'POST',
      agent: false,
      headers: { expect: '100-continue', 'content-length': 5 },
    })
    request.flushHeaders()
    await once(request, 'continue')
    request.end('hello')
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    assert.equal(String((await once(response, 'data'))[0]), 'hello')
  })

  it('HEAD, 204 and 304 have no body and leave the connection usable', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (const [method, path, status] of [
      ['HEAD', '/', 200],
      ['GET', '/204', 204],
      ['GET', '/304', 304],
      ['GET', '/', 200],
    ] as const) {
      const answer = await call(client(), `http://server:8080${path}`, { method, agent })
      assert.equal(answer.status, status)
      if (status !== 200 || method === 'HEAD') assert.equal(answer.body, '')
    }
    assert.equal(Object.values(agent.sockets).flat().length + Object.values(agent.freeSockets).flat().length, 1)
    agent.destroy()
  })

  it('answers pipelined requests in order', async () => {
    const { outbound } = client()
    const socket = net.connect(outbound.port, outbound.host)
    const requests = ['/echo', '/204', '/x'].map((path) => `GET ${path} HTTP/1.1\r\nHost: server:8080\r\n\r\n`).join('')
    socket.write(requests)
    let text = ''
    for await (const chunk of socket) {
      text += String(chunk)
      if (text.includes('hello from')) break
    }
    assert.deepEqual(
      [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((m) => m[1]),
      ['200', '204', '200'],
    )
  })

  it('an application cannot speak in the name of the mesh', async () => {
    const answer = await call(client(), 'http://server:8080/spoof')
    assert.equal(answer.headers['x-outrigger-reason'], undefined)
  })

  it('what the application says it is is dropped on the way in', async () => {
    const answer = await call(client(), 'http://server:8080/', {
      headers: { 'x-outrigger-attempt': '7', 'x-mine': 'kept' },
    })
    const seen = JSON.parse(String(answer.headers['x-seen'])) as Record<string, string>
    assert.equal(seen['x-outrigger-attempt'], undefined)
    assert.equal(seen['x-mine'], 'kept')
    assert.match(seen['traceparent'] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
  })

  it('an unknown service is refused with a reason', async () => {
    const answer = await call(client(), 'http://nowhere:8080/')
    assert.equal(answer.status, 502)
    assert.match(String(answer.headers['x-outrigger-reason']), /^UNKNOWN_DESTINATION; by=test\/client$/)
  })

  it('a port that the service does not have is refused with a reason', async () => {
    const answer = await call(client(), 'http://server:81/')
    assert.notEqual(answer.status, 200)
    assert.ok(answer.headers['x-outrigger-reason'])
  })
})

describe('upgrades and CONNECT', () => {
  const upgrading = (socket: net.Socket): void => {
    let text = ''
    socket.on('error', () => {})
    socket.on('data', function head(chunk: Buffer) {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end === -1) return
      socket.off('data', head)
      if (!/\r\nupgrade: echo/i.test(text.slice(0, end + 2))) {
        socket.end('HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n')
        return
      }
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nwelcome;')
      socket.write(text.slice(end + 4), 'latin1')
      socket.on('data', (more: Buffer) => socket.write(more))
      socket.on('end', () => socket.end())
    })
  }

  it('a WebSocket-like upgrade becomes a tunnel both ways', async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'client' }, { name: 'server', tcp: upgrading }],
      policies: strict,
    })
    const { outbound } = mesh.get('client')
    const socket = net.connect(outbound.port, outbound.host)
    socket.write('GET /chat HTTP/1.1\r\nHost: server:8080\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    const seen = async (wanted: string): Promise<void> => {
      while (!text.includes(wanted)) await once(socket, 'data')
    }
    await seen('welcome;')
    assert.match(text, /^HTTP\/1\.1 101 /)
    const big = 'y'.repeat(1_000_000)
    socket.write(big)
    await seen(big)
    socket.end()
    await once(socket, 'close')
  })

  it('CONNECT on the explicit outbound listener relays bytes without looking inside', async () => {
    await using mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        {
          name: 'server',
          portName: 'tcp',
          tcp: (socket) => socket.on('data', (c) => socket.write(`<${c}>`)).on('end', () => socket.end()),
        },
      ],
      policies: strict,
    })
    const { outbound } = mesh.get('client')
    const socket = net.connect(outbound.port, outbound.host)
    socket.write('CONNECT server:8080 HTTP/1.1\r\nHost: server:8080\r\n\r\n')
    assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200 /)
    socket.write('\x00\x01ping')
    assert.equal(String((await once(socket, 'data'))[0]), '<\x00\x01ping>')
    socket.end()
    await once(socket, 'close')
  })
})

const strict = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`
