/** Orders of events that are easy to get wrong: each of these once was, or could become so. */
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import { MeshError } from '../../src/base/errors.ts'
import type { Response } from '../../src/base/exchange.ts'
import { eventually } from '../support/control.ts'
import { startRelay } from '../support/http1-relay.ts'
import { sendRaw, startRecorder } from '../support/raw.ts'
import { openClient, startUpstream } from '../support/upstream.ts'

const get = (target: string, fields = ''): string => `GET ${target} HTTP/1.1\r\nHost: app\r\n${fields}\r\n`
const post = (length: number, fields = ''): string =>
  `POST / HTTP/1.1\r\nHost: app\r\nContent-Length: ${length}\r\n${fields}\r\n`
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** Answers each GET with its own target, in separate turns of the event loop. */
function echoTargets(socket: net.Socket): void {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
      const target = text.split(' ', 2)[1]!
      text = text.slice(end + 4)
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`)
    }
  })
}

describe('pipelining', () => {
  it('more than is read ahead stays in order', async () => {
    await using up = await startUpstream(echoTargets)
    await using relay = await startRelay(up.port)
    const count = 12_000
    const padding = 'x'.repeat(40)
    using client = await openClient(relay)
    client.socket.write(Array.from({ length: count }, (_, i) => get(`/${i};${padding}`)).join(''))
    await eventually(() => client.text().endsWith(`/${count - 1};${padding}`), 'the last answer')
    const seen = [...client.text().matchAll(/\/(\d+);/g)].map((m) => Number(m[1]))
    assert.deepEqual(
      seen,
      Array.from({ length: count }, (_, i) => i),
    )
  })

  it('is read no further ahead than the limit, however many answers are out', async () => {
    let answers = 0
    await using up = await startUpstream((socket) => {
      socket.on('data', () => {
        answers++
        setImmediate(() => socket.write(ok))
      })
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    const block = get('/').repeat(2_000)
    let rounds = 0
    const pump = (): void => {
      while (!client.socket.destroyed && rounds < 1_000 && client.socket.write(block)) rounds++
    }
    client.socket.on('drain', pump)
    pump()
    await eventually(() => answers > 600, 'six hundred answers')
    const taken = client.socket.bytesWritten - client.socket.writableLength
    // What is left of it lies in the kernel's buffers on both sides.
    assert.ok(taken < 16_000_000, `${taken} bytes were taken for ${answers} answers`)
  })

  it('then half-closing loses no answer', async () => {
    await using up = await startUpstream((socket) => {
      socket.on('data', () => setTimeout(() => socket.write(ok), 10))
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.end(get('/1') + get('/2') + get('/3'))
    assert.equal(await client.ended, 'end')
    assert.equal([...client.text().matchAll(/HTTP\/1\.1 200/g)].length, 3)
    assert.equal([...client.text().matchAll(/connection: close/g)].length, 1, 'the last one says that it is the last')
  })

  it('while a streamed request body is unfinished waits for it', async () => {
    const seen: string[] = []
    const app = http.createServer((req, res) => {
      let bytes = 0
      req.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      req.on('end', () => {
        seen.push(`${req.url} ${bytes}`)
        res.end(`${req.url} ${bytes};`)
      })
    })
    await using up = await listening(app)
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write(post(200_000))
    client.socket.write('a'.repeat(50_000))
    await eventually(() => relay.exchanges.length === 1, 'it is under way')
    client.socket.write(`${'a'.repeat(150_000)}${get('/next')}`)
    await client.seen(/\/next 0;/)
    assert.deepEqual(seen, ['/ 200000', '/next 0'])
  })
})

describe('closing', () => {
  it('a slow reader gets the whole of a last answer', async () => {
    const bytes = 24_000_000
    await using up = await startUpstream((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n\r\n`)
        socket.end(Buffer.alloc(bytes, 'x'))
      })
    })
    await using relay = await startRelay(up.port, { limits: { lingerMs: 50 } })
    const client = net.connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true })
    client.on('error', () => {})
    client.write(get('/', 'Connection: close\r\n'))
    let got = 0
    let rested = false
    const over = new Promise<void>((resolve) => void client.on('close', () => resolve()))
    client.on('data', (chunk) => {
      got += chunk.length
      client.pause()
      // Once the upstream is done the last of it waits in buffers: then we rest for longer than the engine lingers.
      const rest = !rested && up.open.size === 0
      rested ||= rest
      setTimeout(() => client.resume(), rest ? 1_500 : 0)
    })
    client.on('end', () => client.end())
    await over
    assert.ok(rested, 'it was slow enough')
    assert.ok(got >= bytes, `${bytes - got} bytes are missing`)
  })

  it('a client that sends all of its refused body before it reads still gets the answer', async () => {
    await using up = await startUpstream((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'))
      socket.resume()
    })
    await using relay = await startRelay(up.port, { limits: { discardBytesMax: 64 * 1024 } })
    const client = net.connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true })
    client.pause()
    client.write(post(4_000_000))
    await eventually(() => relay.exchanges.length === 1, 'it is under way')
    await new Promise<void>((resolve) => void client.write(Buffer.alloc(4_000_000), () => resolve()))
    let text = ''
    let error: Error | undefined
    client.on('error', (e) => {
      error = e
    })
    client.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    client.resume()
    await new Promise<void>((resolve) => void client.on('end', resolve).on('close', () => resolve()))
    assert.match(text, /^HTTP\/1\.1 413 /, String(error))
    client.destroy()
  })

  it('a body that only the end of the connection ends is cut by a reset when it is not whole', async () => {
    await using up = await startUpstream((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart')
        setTimeout(() => socket.destroy(), 20)
      })
    })
    await using relay = await startRelay(up.port)
    // An upstream that counts, a client that cannot be told the count: chunked below, HTTP/1.0 above.
    await using chunked = await startUpstream((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n')
        setTimeout(() => socket.destroy(), 20)
      })
    })
    await using other = await startRelay(chunked.port)
    using client = await openClient(other)
    client.socket.write('GET / HTTP/1.0\r\nHost: app\r\n\r\n')
    assert.equal(await client.ended, 'reset', client.text())
    const counted = await sendRaw(relay, get('/'), /never/)
    assert.match(counted.text, /content-length: 100\r\n\r\npart$/)
  })

  it('a malformed rest of a body that nobody wants does not take the answer with it', async () => {
    await using up = await startUpstream((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'))
      socket.resume()
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write('POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
    await client.seen(/\r\n\r\nno$/)
    client.socket.write('garbage')
    assert.equal(await client.ended, 'end')
  })
})

describe('Expect: 100-continue', () => {
  it('a final answer instead of 100 ends the connection: nobody knows what comes next', async () => {
    await using up = await startUpstream((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno'))
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write(post(30, 'Expect: 100-continue\r\n'))
    await client.seen(/\r\n\r\nno$/)
    assert.match(client.text(), /connection: close/)
    // A client that takes the 401 for the end of it would send this; it must not be read as the body.
    client.socket.write(get('/next'))
    assert.equal(await client.ended, 'end')
    assert.equal([...client.text().matchAll(/HTTP\/1\.1/g)].length, 1)
    assert.equal(relay.exchanges.length, 1)
  })

  it('after a 100 the rest of the body is read and the connection kept', async () => {
    await using up = await startUpstream((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 100 Continue\r\n\r\n')
        setTimeout(() => socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno'), 5)
      })
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write(post(30, 'Expect: 100-continue\r\n'))
    await client.seen(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 401 .*no$/s)
    assert.doesNotMatch(client.text(), /connection: close/)
    client.socket.write('b'.repeat(30) + get('/next'))
    await client.seen(/no[^]*no$/)
    assert.equal(relay.exchanges.length, 2)
    assert.equal(relay.exchanges[1]?.request.target, '/next')
  })
})

describe('informational responses', () => {
  it('without end are cut short', async () => {
    let written = 0
    await using up = await startUpstream((socket) => {
      socket.once('data', () => {
        const flood = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(1_000)
        const pump = (): void => {
          while (!socket.destroyed && written < 50_000_000 && socket.write(flood)) written += flood.length
        }
        socket.on('drain', pump)
        pump()
      })
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write(get('/'))
    await client.seen(/UPSTREAM_PROTOCOL: .*informational/)
    await eventually(() => up.open.size === 0, 'the upstream is let go')
    assert.ok(client.text().length < 200_000)
  })

  it('one by one they add up too', async () => {
    await using up = await startUpstream((socket) => {
      socket.once('data', () => {
        const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'), 0)
        socket.on('close', () => clearInterval(timer))
      })
    })
    await using relay = await startRelay(up.port, { limits: { headBytesMax: 1_000 } })
    const got = await sendRaw(relay, get('/'), /UPSTREAM_PROTOCOL/)
    assert.match(got.text, /HTTP\/1\.1 502/)
  })
})

const upgrade = 'Connection: Upgrade\r\nUpgrade: echo\r\n'
const switched = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'

describe('upgrades', () => {
  it('a client that left before 101 leaves no upstream behind', async () => {
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let answered: Response | undefined
    await using up = await startUpstream((socket) => void socket.once('data', () => socket.write(switched)), {
      allowHalfOpen: true,
    })
    await using relay = await startRelay(up.port, {
      layer: (next) => async (exchange) => {
        const response = await next(exchange)
        answered = response
        await held
        return response
      },
    })
    const client = await openClient(relay)
    client.socket.write(get('/', upgrade))
    await eventually(() => answered !== undefined, 'the upstream has switched')
    client.socket.resetAndDestroy()
    await eventually(() => relay.server.connections === 0, 'the client is gone')
    release()
    await eventually(() => up.open.size === 0, 'the upstream connection is closed')
    assert.equal(answered?.finished, true)
  })

  it('a tunnel that ended is finished, so that what counts requests under way counts it out', async () => {
    let response: Response | undefined
    await using up = await startUpstream((socket) => {
      socket.once('data', () => socket.write(switched))
      socket.on('end', () => socket.end())
    })
    await using relay = await startRelay(up.port, {
      layer: (next) => async (exchange) => {
        response = await next(exchange)
        return response
      },
    })
    using client = await openClient(relay)
    client.socket.write(get('/', upgrade))
    await client.seen(/101/)
    assert.equal(response?.finished, false)
    client.socket.end()
    await client.ended
    await eventually(() => response?.finished === true, 'it is finished')
  })

  it('a slow reader gets all that the upstream sent before it closed', async () => {
    const bytes = 8_000_000
    await using up = await startUpstream(
      (socket) => {
        socket.once('data', () => {
          socket.write(switched)
          socket.end(Buffer.alloc(bytes, 'x'))
        })
      },
      { allowHalfOpen: true },
    )
    await using relay = await startRelay(up.port)
    const client = net.connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true })
    client.on('error', () => {})
    client.write(get('/', upgrade))
    let got = 0
    await new Promise<void>((resolve) => {
      client.once('data', (chunk) => {
        got += chunk.length
        // Our side ends first; then both sides of the upstream are closed while most of it waits for us.
        client.end()
        client.pause()
        client.on('data', (more) => {
          got += more.length
          client.pause()
          setImmediate(() => client.resume())
        })
        client.on('end', resolve)
        client.on('close', () => resolve())
        setTimeout(() => client.resume(), 200)
      })
    })
    assert.ok(got >= bytes, `${bytes - got} bytes are missing`)
  })

  it('half-close and what follows it pass both ways', async () => {
    let afterEnd = ''
    await using up = await startUpstream(
      (socket) => {
        socket.once('data', () => {
          socket.write(switched)
          socket.end('bye')
          socket.on('data', (chunk) => {
            afterEnd += chunk.toString('latin1')
          })
        })
      },
      { allowHalfOpen: true },
    )
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write(get('/', upgrade))
    assert.equal(await client.ended, 'end')
    client.socket.end('still here')
    await eventually(() => afterEnd === 'still here', 'the upstream hears us after its own end')
  })

  it('a reset passes as a reset', async () => {
    let how = ''
    await using up = await startUpstream(
      (socket) => {
        socket.once('data', () => socket.write(switched))
        socket.on('error', () => {
          how = 'reset'
        })
        socket.on('end', () => {
          how ||= 'end'
        })
      },
      { allowHalfOpen: true },
    )
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    client.socket.write(get('/', upgrade))
    await client.seen(/101/)
    client.socket.resetAndDestroy()
    await eventually(() => how !== '', 'the upstream hears of it')
    assert.equal(how, 'reset')
  })

  it('refused with 200 and bytes behind it: neither connection is used again', async () => {
    let served = 0
    await using up = await startUpstream((socket) => {
      socket.on('data', () => {
        served++
        socket.write(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale`)
      })
    })
    await using relay = await startRelay(up.port)
    using client = await openClient(relay)
    // What follows an Upgrade is of another protocol if it is granted: it is no request if it is not.
    client.socket.write(get('/ws', upgrade) + get('/smuggled'))
    assert.equal(await client.ended, 'end')
    assert.match(client.text(), /connection: close\r\n\r\nok$/)
    assert.equal(relay.exchanges.length, 1)
    assert.equal(served, 1)
    await eventually(() => up.open.size === 0, 'the upstream connection is closed')
    assert.match((await sendRaw(relay, get('/'), /ok$/)).text, /ok$/)
  })

  for (const [name, answer] of [
    ['101 without Upgrade', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['101 to another protocol', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n'],
  ] as const) {
    it(`${name} is refused`, async () => {
      await using up = await startUpstream((socket) => void socket.once('data', () => socket.write(answer)))
      await using relay = await startRelay(up.port)
      assert.equal((await sendRaw(relay, get('/', upgrade))).status, 502)
    })
  }

  it('101 that nobody asked for is refused', async () => {
    await using recorder = await startRecorder(switched)
    await using relay = await startRelay(recorder.port)
    assert.equal((await sendRaw(relay, get('/'))).status, 502)
  })
})

describe('a response body that nobody takes yet', () => {
  it('is kept apart from what other connections read meanwhile', async () => {
    const size = 40_000
    await using up = await startUpstream((socket) => {
      socket.once('data', (chunk) => {
        const letter = /GET \/(.)/.exec(chunk.toString('latin1'))![1]!
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${letter.repeat(size)}`)
      })
    })
    let waiting = 0
    await using relay = await startRelay(up.port, {
      layer: (next) => async (exchange) => {
        const response = await next(exchange)
        waiting++
        // Until every body has gone through the one read buffer.
        await eventually(() => waiting === 8, 'all heads are here')
        return response
      },
    })
    const all = await Promise.all(
      Array.from('abcdefgh', (letter) => sendRaw(relay, get(`/${letter}`), new RegExp(`${letter}{${size}}$`))),
    )
    for (const [i, { text }] of all.entries()) {
      assert.equal(text.slice(-size), 'abcdefgh'[i]!.repeat(size))
    }
  })
})

describe('an exchange that is over', () => {
  it('is not sent', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port, {
      layer: (next) => (exchange) => {
        exchange.cancel(new MeshError('DEADLINE', 'too late'))
        return next(exchange)
      },
    })
    const got = await sendRaw(relay, get('/'))
    assert.equal(got.status, 504, got.text)
    assert.equal(recorder.connections(), 0)
  })
})

async function listening(server: http.Server): Promise<{ readonly port: number } & AsyncDisposable> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
