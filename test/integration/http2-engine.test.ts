/** The engine between Node's own HTTP/2 at either end, and HTTP/1.1 where the two sides differ. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { describe, it } from 'node:test'
import { eventually } from '../support/control.ts'
import { type Http2Server, startHttp2Server } from '../support/http2/app.ts'
import { startHttp2Relay } from '../support/http2-relay.ts'

type Answer = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, body: Buffer) => void

type OnStream = Parameters<typeof startHttp2Server>[0]

function upstreamOf(onStream: OnStream, options: http2.ServerOptions = {}): Promise<Http2Server> {
  return startHttp2Server(onStream, { maxSessionMemory: 1_000, ...options })
}

/** Answers each request when all of it is here. */
async function upstream(answer: Answer, options: http2.ServerOptions = {}): Promise<Http2Server> {
  return upstreamOf((stream, headers) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => answer(stream, headers, Buffer.concat(chunks)))
  }, options)
}

function connect(port: number): http2.ClientHttp2Session & Disposable {
  const client = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1_000 })
  client.on('error', () => {})
  return Object.assign(client, { [Symbol.dispose]: () => client.destroy() })
}

/** Names of fields that came as never to be indexed. */
function marked(headers: http2.IncomingHttpHeaders): readonly string[] {
  return (headers as { readonly [name: symbol]: readonly string[] })[http2.sensitiveHeaders] ?? []
}

interface Got {
  readonly headers: http2.IncomingHttpHeaders
  readonly trailers: http2.IncomingHttpHeaders
  readonly body: Buffer
}

function call(
  client: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer,
): Promise<Got> & { stream: http2.ClientHttp2Stream } {
  const stream = client.request({ ':method': body === undefined ? 'GET' : 'POST', ...headers })
  const got = new Promise<Got>((resolve, reject) => {
    let head: http2.IncomingHttpHeaders = {}
    let trailers: http2.IncomingHttpHeaders = {}
    const chunks: Buffer[] = []
    stream.on('response', (given) => {
      head = given
    })
    stream.on('trailers', (given) => {
      trailers = given
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', () => {})
    stream.on('close', () => {
      if (stream.rstCode === 0) resolve({ headers: head, trailers, body: Buffer.concat(chunks) })
      else reject(new Error(`reset: ${stream.rstCode}`))
    })
  })
  got.catch(() => {})
  stream.end(body)
  return Object.assign(got, { stream })
}

/** Extended CONNECT (RFC 8441), once the server has said that it takes it. */
async function connectFor(client: http2.ClientHttp2Session, protocol: string): Promise<http2.ClientHttp2Stream> {
  await once(client, 'remoteSettings')
  return client.request({
    ':method': 'CONNECT',
    ':protocol': protocol,
    ':path': '/chat',
    ':scheme': 'http',
    ':authority': 'app',
  })
}

const echo: Answer = (stream, headers, body) => {
  stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-bytes': String(body.length) }))
  stream.end(body)
}

describe('HTTP/2 at both ends', () => {
  it('many at once on one connection, bodies and trailers whole', async () => {
    using up = await upstream(echo)
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const all = await Promise.all(
      Array.from({ length: 300 }, (_, i) => call(client, { ':path': `/${i}` }, Buffer.alloc(i * 300, i))),
    )
    for (const [i, { headers, body, trailers }] of all.entries()) {
      assert.equal(headers['x-path'], `/${i}`)
      assert.deepEqual(body, Buffer.alloc(i * 300, i))
      assert.equal(trailers['x-bytes'], String(i * 300))
    }
    assert.equal(relay.pools.sizes()[0]?.open, 1)
    assert.equal(relay.engines.connections, 1)
  })

  it('5 MB each way', async () => {
    using up = await upstream(echo)
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const sent = Buffer.from(Array.from({ length: 5_000_000 }, (_, i) => i % 251))
    const { body } = await call(client, { ':path': '/' }, sent)
    assert.ok(body.equals(sent))
  })

  it('a reader that stops holds the writer, and other streams go on', async () => {
    let written = 0
    using up = await upstreamOf((stream, headers) => {
      stream.respond({ ':status': 200 })
      if (headers[':path'] === '/other') {
        stream.end('other')
        return
      }
      const chunk = Buffer.alloc(16_384)
      const pump = (): void => {
        while (!stream.destroyed && stream.write(chunk)) written += chunk.length
        stream.once('drain', pump)
      }
      pump()
    })
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const slow = client.request({ ':path': '/slow' })
    slow.on('error', () => {})
    slow.pause()
    await once(slow, 'response')
    let last = -1
    for (let still = 0; still < 50; still = written === last ? still + 1 : 0) {
      last = written
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.ok(written < 2_000_000, `${written} bytes were taken from the upstream`)
    const { body } = await call(client, { ':path': '/other' })
    assert.equal(body.toString(), 'other')
  })

  it('what the client cancels is cancelled at the upstream, and the connections stay', async () => {
    let begun = 0
    let cancelled = 0
    using up = await upstreamOf((stream) => {
      begun++
      stream.on('close', () => cancelled++)
    })
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const streams = Array.from({ length: 20 }, () => client.request({ ':path': '/' }))
    for (const stream of streams) stream.on('error', () => {})
    await eventually(() => begun === 20, 'all are there')
    for (const stream of streams) stream.close(http2.constants.NGHTTP2_CANCEL)
    await eventually(() => cancelled === 20, `cancelled is 20`)
    assert.equal(up.sessions.size, 1)
    assert.equal(relay.pools.sizes()[0]?.active, 0)
  })

  it('a stream that the upstream resets is reset, one that it refuses is sent once more', async () => {
    let tries = 0
    using up = await upstreamOf((stream, headers) => {
      if (headers[':path'] === '/refused' && ++tries === 1) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
      else if (headers[':path'] === '/reset') {
        stream.respond({ ':status': 200 })
        stream.write('part')
        setImmediate(() => stream.destroy(new Error('broken')))
      } else {
        stream.respond({ ':status': 200 })
        stream.end('ok')
      }
    })
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const refused = await call(client, { ':path': '/refused' }, Buffer.from('once'))
    assert.equal(refused.body.toString(), 'ok')
    assert.equal(tries, 2)
    await assert.rejects(call(client, { ':path': '/reset' }), /reset: 2/)
  })

  it('an upstream that goes away gets no new streams, and those it has are answered', async () => {
    const open: http2.ServerHttp2Stream[] = []
    using up = await upstreamOf((stream, headers) => {
      if (headers[':path'] === '/first') open.push(stream)
      else {
        stream.respond({ ':status': 200 })
        stream.end('second')
      }
    })
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const first = call(client, { ':path': '/first' })
    await eventually(() => open.length === 1, `open.length is 1`)
    const [session] = up.sessions
    session!.close()
    await eventually(() => relay.pools.sizes()[0]?.open === 1, `relay.pools.sizes()[0]?.open is 1`)
    const second = await call(client, { ':path': '/second' })
    assert.equal(second.body.toString(), 'second')
    open[0]!.respond({ ':status': 200 })
    open[0]!.end('first')
    assert.equal((await first).body.toString(), 'first')
  })

  it('fields that may never be indexed stay so, both ways', async () => {
    using server = await upstream((stream, headers) => {
      stream.respond({ 'x-marked': marked(headers).join(), 'x-token': 'b', [http2.sensitiveHeaders]: ['x-token'] })
      stream.write('a head that goes on before its body is here')
      if (headers[':path'] === '/') stream.end()
      else setTimeout(() => stream.end(), 50)
    })
    await using relay = await startHttp2Relay(server.port)
    using client = connect(relay.port)
    for (let i = 0; i < 3; i++) {
      const asked = {
        ':path': i === 0 ? '/slow' : '/',
        'x-open': '1',
        'x-secret': 'a',
        [http2.sensitiveHeaders]: [':path', 'x-secret'],
      }
      const { headers } = await call(client, asked)
      assert.equal(headers['x-marked'], ':path,x-secret')
      assert.deepEqual(marked(headers), ['x-token'])
    }
    const { headers } = await call(client, { ':path': '/', 'x-open': '1', 'x-secret': 'a', cookie: 'a=b' })
    assert.equal(headers['x-marked'], 'cookie', 'one that is a secret by its name, and no other')
  })

  it('drain: GOAWAY, what is under way is answered, then the connection ends', async () => {
    const open: http2.ServerHttp2Stream[] = []
    using up = await upstreamOf((stream) => open.push(stream))
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const only = call(client, { ':path': '/' })
    await eventually(() => open.length === 1, `open.length is 1`)
    const goaway = once(client, 'goaway')
    relay.engines.drain()
    await goaway
    open[0]!.respond({ ':status': 200 })
    open[0]!.end('done')
    assert.equal((await only).body.toString(), 'done')
    await once(client, 'close')
    await eventually(() => relay.engines.connections === 0, `relay.engines.connections is 0`)
  })
})

describe('HTTP/2 and HTTP/1.1', () => {
  it('a client of HTTP/2, an upstream of HTTP/1.1: bodies, cookies, status', async () => {
    const server = http.createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        response.writeHead(201, { 'x-host': request.headers.host, 'x-cookie': request.headers.cookie })
        response.end(Buffer.concat(chunks))
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using relay = await startHttp2Relay((server.address() as net.AddressInfo).port, { upstreamHttp2: false })
    using client = connect(relay.port)
    const sent = Buffer.alloc(300_000, 'x')
    const { headers, body } = await call(
      client,
      { ':path': '/', ':authority': 'app.example', cookie: ['a=1', 'b=2'] },
      sent,
    )
    assert.equal(headers[':status'], 201)
    assert.equal(headers['x-host'], 'app.example')
    assert.equal(headers['x-cookie'], 'a=1; b=2')
    assert.equal(headers['connection'], undefined)
    assert.ok(body.equals(sent))
    server.close()
    server.closeAllConnections()
  })

  it('a client of HTTP/1.1, an upstream of HTTP/2', async () => {
    using up = await upstream(echo)
    await using relay = await startHttp2Relay(up.port, { upstreamHttp2: true })
    const answer = await fetch(`http://127.0.0.1:${relay.port}/there`, {
      method: 'POST',
      body: 'hello',
      headers: { 'X-Mixed-Case': 'yes' },
    })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('x-path'), '/there')
    assert.equal(await answer.text(), 'hello')
  })

  it('a server that does not speak HTTP/2 is told from one that is broken', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using relay = await startHttp2Relay((server.address() as net.AddressInfo).port)
    using client = connect(relay.port)
    const { headers, body } = await call(client, { ':path': '/' })
    assert.equal(headers[':status'], 502)
    assert.match(body.toString(), /UPSTREAM_PROTOCOL: 127\.0\.0\.1:\d+ does not speak HTTP\/2/)
    server.close()
  })

  it('WebSocket over HTTP/2 reaches a server of HTTP/1.1', async () => {
    const server = http.createServer()
    server.on('upgrade', (request, socket) => {
      assert.match(request.headers['sec-websocket-key'] ?? '', /^[\w+/]{22}==$/)
      socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello')
      socket.pipe(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await using relay = await startHttp2Relay((server.address() as net.AddressInfo).port, { upstreamHttp2: false })
    using client = connect(relay.port)
    const stream = await connectFor(client, 'websocket')
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    assert.equal(head[':status'], 200)
    let text = ''
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    stream.write(' and back')
    await eventually(() => text === 'hello and back', `text is 'hello and back'`)
    stream.end()
    await once(stream, 'close')
    server.close()
  })

  it('and a server of HTTP/2', async () => {
    using up = await upstreamOf(
      (stream, headers) => {
        assert.equal(headers[':protocol'], 'websocket')
        stream.respond({ ':status': 200 })
        stream.pipe(stream)
      },
      { settings: { enableConnectProtocol: true } },
    )
    await using relay = await startHttp2Relay(up.port)
    using client = connect(relay.port)
    const stream = await connectFor(client, 'websocket')
    let text = ''
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    stream.write('there and back')
    await eventually(() => text === 'there and back', `text is 'there and back'`)
    stream.end()
    await once(stream, 'close')
  })

  for (const protocol of ['h2c', 'HTTP/1.1', 'TLS/1.0', 'spdy/3']) {
    it(`CONNECT for ${protocol} is refused: it would carry requests past every layer`, async () => {
      using up = await upstream(echo)
      await using relay = await startHttp2Relay(up.port)
      using client = connect(relay.port)
      const stream = await connectFor(client, protocol)
      const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      assert.equal(head[':status'], 501)
      assert.equal(relay.exchanges.length, 0)
    })
  }
})
