/** The engine's behaviour beyond what it refuses: flow control, keep-alive, time limits, endings. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import { eventually } from '../support/control.ts'
import { startRelay } from '../support/http1-relay.ts'
import { sendRaw, startRecorder } from '../support/raw.ts'

/** A raw upstream: calls back for each connection. */
async function upstream(
  onConnection: (socket: net.Socket, count: number) => void,
): Promise<{ port: number; connections: () => number; open: Set<net.Socket> } & AsyncDisposable> {
  let count = 0
  const open = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true }, (socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    onConnection(socket, ++count)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    connections: () => count,
    open,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}

const request = (method: string, fields = ''): string => `${method} / HTTP/1.1\r\nHost: app\r\n${fields}\r\n`
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

describe('flow control', () => {
  it('a reader that stops stops the upstream, and memory does not grow', async () => {
    let written = 0
    await using up = await upstream((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n')
        const chunk = Buffer.alloc(65_536, 1)
        const pump = (): void => {
          while (!socket.destroyed && socket.write(chunk)) written += chunk.length
          socket.once('drain', pump)
        }
        pump()
      })
    })
    await using relay = await startRelay(up.port)
    const client = net.connect(relay.port, '127.0.0.1')
    client.on('error', () => {})
    client.pause()
    client.write(request('GET'))
    let last = -1
    // Still for several rounds of the event loop: everybody waits for the reader.
    for (let still = 0; still < 50; still = written === last ? still + 1 : 0) {
      last = written
      await new Promise((resolve) => setTimeout(resolve, 4))
    }
    assert.ok(written < 32_000_000, `${written} bytes went into buffers`)
    client.resume()
    await eventually(() => written > last + 10_000_000, 'it flows again')
    client.destroy()
    await eventually(() => up.open.size === 0, 'the upstream connection of a client that left is closed')
  })

  it('an upstream that stops reading stops the client', async () => {
    await using up = await upstream((socket) => socket.pause())
    await using relay = await startRelay(up.port)
    const client = net.connect(relay.port, '127.0.0.1')
    client.on('error', () => {})
    client.write(request('POST', 'Content-Length: 1000000000\r\n'))
    const chunk = Buffer.alloc(65_536)
    let written = 0
    const pump = (): void => {
      while (!client.destroyed && client.write(chunk)) written += chunk.length
      client.once('drain', pump)
    }
    pump()
    let last = -1
    for (let still = 0; still < 50; still = written === last ? still + 1 : 0) {
      last = written
      await new Promise((resolve) => setTimeout(resolve, 4))
    }
    assert.ok(written < 32_000_000, `${written} bytes went into buffers`)
    client.destroy()
  })

  it('bytes that come one by one make the same messages', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n'
    await using up = await upstream((socket) => {
      const trickle = async (): Promise<void> => {
        for (const byte of answer) {
          socket.write(byte)
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      socket.once('data', () => void trickle())
    })
    await using relay = await startRelay(up.port)
    const got = await sendRaw(relay, Array.from(request('GET')), /X-Sum: 1\r\n\r\n$/)
    assert.match(got.text, /^HTTP\/1\.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n/)
    assert.equal([...got.text.matchAll(/^[1-9a-f][0-9a-f]*\r\n([^\r]*)\r\n/gm)].map((m) => m[1]).join(''), 'abc')
  })
})

describe('connections', () => {
  it('are kept and used last in, first out', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port)
    for (let i = 0; i < 20; i++) assert.equal((await sendRaw(relay, request('GET'))).status, 200)
    assert.equal(recorder.connections(), 1)
  })

  it('an idle connection that the upstream closed costs a repeatable request nothing', async () => {
    let requests = 0
    await using up = await upstream((socket, count) => {
      socket.on('data', () => {
        requests++
        // The second request on the first connection meets a close, as when an idle timeout fires in that moment.
        if (count === 1 && requests === 2) socket.destroy()
        else socket.write(ok)
      })
    })
    await using relay = await startRelay(up.port)
    assert.equal((await sendRaw(relay, request('GET'))).status, 200)
    assert.equal((await sendRaw(relay, request('GET'))).status, 200)
    assert.equal(up.connections(), 2)
  })

  it('but a POST is never sent twice', async () => {
    let requests = 0
    await using up = await upstream((socket, count) => {
      socket.on('data', () => {
        requests++
        if (count === 1 && requests === 2) socket.destroy()
        else socket.write(ok)
      })
    })
    await using relay = await startRelay(up.port)
    assert.equal((await sendRaw(relay, request('POST', 'Content-Length: 0\r\n'))).status, 200)
    assert.equal((await sendRaw(relay, request('POST', 'Content-Length: 0\r\n'))).status, 502)
    assert.equal(requests, 2)
  })

  it('are left before the upstream’s own Keep-Alive timeout, and never after Connection: close', async () => {
    await using up = await upstream((socket) => {
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'))
    })
    await using relay = await startRelay(up.port)
    for (let i = 0; i < 3; i++) assert.equal((await sendRaw(relay, request('GET'))).status, 200)
    assert.equal(up.connections(), 3)
    assert.equal(relay.pools.sizes()[0]?.idle, 0)
  })

  it('a thousand pipelined requests are answered in order', async () => {
    let n = 0
    const server = http.createServer((_req, res) => void res.end(`#${n++};`)).listen(0)
    await once(server, 'listening')
    await using relay = await startRelay((server.address() as net.AddressInfo).port)
    const got = await sendRaw(relay, request('GET').repeat(1_000), /#999;/)
    assert.deepEqual(
      [...got.text.matchAll(/#(\d+);/g)].map((m) => Number(m[1])),
      Array.from({ length: 1_000 }, (_, i) => i),
    )
    server.close()
  })

  it('a client that leaves cancels what is under way', async () => {
    await using up = await upstream((socket) => socket.resume())
    await using relay = await startRelay(up.port)
    const client = net.connect(relay.port, '127.0.0.1')
    client.write(request('GET'))
    await eventually(() => up.open.size === 1, 'the request is under way')
    client.resetAndDestroy()
    await eventually(() => up.open.size === 0, 'the upstream connection is closed')
    assert.equal(relay.exchanges[0]?.cancelled?.code, 'DOWNSTREAM_RESET')
  })

  it('a client that half-closes after its request gets its answer', async () => {
    await using up = await upstream((socket) => {
      socket.once('data', () => setTimeout(() => socket.write(ok), 20))
    })
    await using relay = await startRelay(up.port)
    const client = net.connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true })
    client.end(request('GET'))
    let text = ''
    for await (const chunk of client) text += String(chunk)
    assert.match(text, /\r\nconnection: close\r\n\r\nok$/)
  })
})

describe('a client that ends its side', () => {
  it('and is told nothing for halfClosedTimeoutMs has left: its request is cancelled', async () => {
    await using up = await upstream(() => {})
    await using relay = await startRelay(up.port, { limits: { halfClosedTimeoutMs: 200 } })
    const client = net.connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true })
    client.on('error', () => {})
    client.end(request('GET'))
    await eventually(() => up.open.size === 1, 'the upstream has it')
    await eventually(() => up.open.size === 0, 'the upstream is let go')
    assert.equal(relay.exchanges[0]?.cancelled?.code, 'DOWNSTREAM_RESET')
    client.destroy()
  })
})

describe('HTTP/1.0 clients', () => {
  it('get an unchunked body that ends with the connection', async () => {
    await using recorder = await startRecorder(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    )
    await using relay = await startRelay(recorder.port)
    const got = await sendRaw(relay, 'GET / HTTP/1.0\r\nHost: app\r\n\r\n', /never/)
    assert.equal(got.text, 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc')
  })

  it('are kept only when they ask', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port)
    const got = await sendRaw(
      relay,
      'GET / HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n'.repeat(2),
      /ok.*ok/s,
    )
    assert.equal([...got.text.matchAll(/connection: keep-alive/g)].length, 2)
  })
})

describe('time limits', () => {
  const limits = { firstByteTimeoutMs: 200, headTimeoutMs: 200, idleTimeoutMs: 200, bodyTimeoutMs: 200, lingerMs: 200 }

  it('a connection without a byte is closed without an answer', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port, { limits })
    assert.deepEqual(await sendRaw(relay, ''), { text: '', status: 0, closed: true })
  })

  it('a head that takes too long is answered 408', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port, { limits })
    const got = await sendRaw(relay, 'GET / HTTP/1.1\r\nHost:')
    assert.equal(got.status, 408)
    assert.equal(recorder.received(), '')
  })

  it('an idle connection is closed', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port, { limits })
    const got = await sendRaw(relay, request('GET'), /never/)
    assert.equal(got.status, 200)
    assert.equal(got.closed, true)
  })

  it('a body that does not come is answered 408 and the upstream is let go', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port, { limits })
    const got = await sendRaw(relay, request('POST', 'Content-Length: 10\r\n'))
    assert.equal(got.status, 408)
    assert.match(got.text, /connection: close/)
  })

  it('a response body that stops breaks off', async () => {
    await using up = await upstream((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart'))
    })
    await using relay = await startRelay(up.port, { limits })
    const got = await sendRaw(relay, request('GET'), /never/)
    assert.equal(got.closed, true)
    assert.match(got.text, /part$/)
  })
})

describe('early answers', () => {
  it('reach the client while it still sends, and no half request stays behind', async () => {
    await using up = await upstream((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'))
      socket.resume()
    })
    await using relay = await startRelay(up.port)
    const client = net.connect(relay.port, '127.0.0.1')
    client.on('error', () => {})
    client.write(request('POST', 'Content-Length: 1000000\r\n'))
    client.write(Buffer.alloc(100_000))
    const [head] = await once(client, 'data')
    assert.match(String(head), /^HTTP\/1\.1 413 /)
    // The rest of the body is dropped, then the same connection serves the next request.
    client.write(Buffer.alloc(900_000))
    client.destroy()
    await eventually(() => up.open.size === 0, 'the upstream connection with the half request is closed')
  })
})

describe('much at once', () => {
  /** Content that tells where each byte belongs. */
  const content = (of: number, bytes: number): Buffer => {
    const buffer = Buffer.allocUnsafe(bytes)
    for (let at = 0; at < bytes; at += 4) buffer.writeUInt32LE(((of * 0x1000193) ^ at) >>> 0, at)
    return buffer
  }
  // More than the kernel holds between two ends that do not read.
  const bytes = 16_000_000
  /** So many turns of the event loop that everything that can move has moved: all ends are in this process. */
  const standstill = async (): Promise<void> => {
    for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  for (const framing of ['counted', 'chunked'] as const) {
    it(`six bodies each way, ${framing}, to readers that stand still for a while: every byte is its own`, async () => {
      const server = http.createServer((request, response) => {
        const of = Number(request.url!.slice(1))
        const got: Buffer[] = []
        request.on('data', (chunk: Buffer) => got.push(chunk))
        request.pause()
        void standstill().then(() => request.resume())
        request.on('end', () => {
          const same = Buffer.concat(got).equals(content(of, bytes))
          const head = { 'x-same': String(same), ...(framing === 'counted' ? { 'content-length': bytes } : {}) }
          response.writeHead(200, head)
          response.end(content(of + 100, bytes))
        })
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      await using relay = await startRelay((server.address() as net.AddressInfo).port)
      const agent = new http.Agent({ keepAlive: true, maxSockets: 6 })
      const one = async (of: number): Promise<void> => {
        const headers = framing === 'counted' ? { 'content-length': bytes } : {}
        const request = http.request({
          host: '127.0.0.1',
          port: relay.port,
          path: `/${of}`,
          method: 'POST',
          agent,
          headers,
        })
        request.end(content(of, bytes))
        const [response] = (await once(request, 'response')) as [http.IncomingMessage]
        assert.equal(response.headers['x-same'], 'true', `upload ${of}`)
        const got: Buffer[] = []
        await standstill()
        for await (const chunk of response) got.push(chunk as Buffer)
        assert.ok(Buffer.concat(got).equals(content(of + 100, bytes)), `download ${of}`)
      }
      // Twice over the same connections: what was left of the first must not show in the second.
      try {
        for (const first of [0, 6]) await Promise.all(Array.from({ length: 6 }, (_, i) => one(first + i)))
      } finally {
        agent.destroy()
        server.close()
        server.closeAllConnections()
      }
    })
  }
})
