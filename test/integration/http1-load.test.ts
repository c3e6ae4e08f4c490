/** Many requests of all kinds at once: every answer belongs to its request, every byte is its own, nothing stays behind. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { eventually } from '../support/control.ts'
import { startRelay } from '../support/http1-relay.ts'
import { Mesh } from '../support/mesh.ts'
import { readResponses } from '../support/responses.ts'
import { startUpstream } from '../support/upstream.ts'

/** Echoes the body, counted or chunked as the path says. */
function echo(req: http.IncomingMessage, res: http.ServerResponse): void {
  res.setHeader('x-target', req.url ?? '')
  if (req.url?.startsWith('/counted') === true && req.headers['content-length'] !== undefined) {
    res.setHeader('content-length', req.headers['content-length'])
  }
  req.pipe(res)
}

interface Spec {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly framing: 'counted' | 'chunked'
  readonly size: number
  /** Sizes of chunks, cycled. */
  readonly chunks: readonly number[]
  readonly answer: 'counted' | 'chunked'
}

// Small limits put every edge within reach of small bodies.
const limits = { wholeBodyBytesMax: 512, readAheadBytesMax: 2_048, discardBytesMax: 4_096 }
const edges = [0, 1, 511, 512, 513, 2_047, 2_048, 2_049, 5_000]

const spec: fc.Arbitrary<Spec> = fc.record({
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'POST', 'POST'),
  framing: fc.constantFrom('counted', 'chunked'),
  size: fc.oneof(fc.constantFrom(...edges), fc.nat(3_000)),
  chunks: fc.array(fc.oneof(fc.constantFrom(1, 15, 16, 511, 512, 513), fc.integer({ min: 1, max: 2_000 })), {
    minLength: 1,
    maxLength: 3,
  }),
  answer: fc.constantFrom('counted', 'chunked'),
})

const bodyOf = (index: number, size: number): string => `${index}.`.repeat(Math.ceil(size / 2)).slice(0, size)

function bytesOf({ method, framing, size, chunks, answer }: Spec, index: number): string {
  const head = `${method} /${answer}/${index} HTTP/1.1\r\nHost: app\r\n`
  if (method !== 'POST') return `${head}\r\n`
  const body = bodyOf(index, size)
  if (framing === 'counted') return `${head}Content-Length: ${size}\r\n\r\n${body}`
  let text = `${head}Transfer-Encoding: chunked\r\n\r\n`
  for (let at = 0, i = 0; at < size; i++) {
    const piece = body.slice(at, at + chunks[i % chunks.length]!)
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`
    at += piece.length
  }
  return `${text}0\r\n\r\n`
}

describe('pipelined requests of every shape', () => {
  it('each get their own answer, in order', { timeout: 120_000 }, async () => {
    const app = http.createServer(echo).listen(0, '127.0.0.1')
    await once(app, 'listening')
    await using relay = await startRelay((app.address() as net.AddressInfo).port, { limits })
    const property = fc.asyncProperty(
      fc.array(spec, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(20_000), { maxLength: 6 }),
      async (specs, cuts) => {
        const bytes = specs.map(bytesOf).join('')
        const points = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b)
        const socket = net.connect({ port: relay.port, host: '127.0.0.1', noDelay: true })
        let text = ''
        const isHead = (i: number): boolean => specs[i]?.method === 'HEAD'
        const answered = new Promise<void>((resolve, reject) => {
          socket.on('data', (chunk) => {
            text += chunk.toString('latin1')
            if (readResponses(text, isHead).responses.length >= specs.length) resolve()
          })
          socket.on('error', reject)
          socket.on('close', () => reject(new Error(`closed after ${JSON.stringify(text.slice(-200))}`)))
        })
        let from = 0
        for (const point of points) {
          socket.write(bytes.slice(from, point), 'latin1')
          from = point
          await new Promise((resolve) => setImmediate(resolve))
        }
        socket.write(bytes.slice(from), 'latin1')
        await answered
        socket.destroy()
        const { responses, rest } = readResponses(text, isHead)
        assert.equal(rest, '')
        assert.deepEqual(
          responses.map(({ head, body }) => [/x-target: (.*)\r/.exec(head)?.[1], body]),
          specs.map(({ method, size, answer }, i) => [`/${answer}/${i}`, method === 'POST' ? bodyOf(i, size) : '']),
        )
      },
    )
    await fc.assert(property, { numRuns: 2_000, seed: 20_261_124 })
    app.closeAllConnections()
    app.close()
  })
})

/** Posts random bytes; resolves with '' if the same came back, else with what did. */
function postAndCompare(
  to: { readonly host: string; readonly port: number; readonly path: string; readonly authority: string },
  bytes: number,
  agent: http.Agent,
): Promise<string> {
  const body = randomBytes(bytes)
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: to.host, port: to.port, path: to.path, method: 'POST', agent, headers: { host: to.authority } },
      (response) => {
        const sum = createHash('sha1')
        response.on('data', (chunk: Buffer) => void sum.update(chunk))
        response.on('end', () => {
          const same = sum.digest('hex') === createHash('sha1').update(body).digest('hex')
          // A refusal is no body that was changed.
          const reason = response.headers['x-outrigger-reason']
          resolve(same ? '' : `${response.statusCode} ${typeof reason === 'string' ? reason : ''} to ${bytes} bytes`)
        })
        response.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

describe('large bodies on many connections at once', () => {
  const sizes = [3, 16_384, 16_385, 65_536, 65_537, 300_000, 1_500_000]
  const run = async (to: { host: string; port: number; path: string; authority: string }): Promise<void> => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 24 })
    const results = await Promise.all(
      Array.from({ length: 120 }, (_, i) =>
        postAndCompare(
          { ...to, path: `${to.path}${i % 2 === 0 ? 'counted' : 'chunked'}` },
          sizes[i % sizes.length]!,
          agent,
        ),
      ),
    )
    agent.destroy()
    assert.deepEqual(
      results.filter((what) => what !== ''),
      [],
      'bodies that came back changed',
    )
  }

  it('stay apart in plaintext', { timeout: 60_000 }, async () => {
    const app = http.createServer(echo).listen(0, '127.0.0.1')
    await once(app, 'listening')
    await using relay = await startRelay((app.address() as net.AddressInfo).port)
    await run({ host: '127.0.0.1', port: relay.port, path: '/', authority: 'app' })
    app.closeAllConnections()
    app.close()
  })

  it('stay apart over mTLS, through two sidecars', { timeout: 60_000 }, async () => {
    await using mesh = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'server', app: echo }] })
    const { host, port } = mesh.get('client').outbound
    await run({ host, port, path: 'http://server:8080/', authority: 'server:8080' })
  })
})

describe('ten thousand requests that end in every way', () => {
  it('leave no socket, no timer, no listener, no request under way', { timeout: 120_000 }, async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning)
    process.on('warning', onWarning)
    let n = 0
    // Each upstream connection serves a few requests, then does something else.
    await using up = await startUpstream((socket) => {
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1')
        for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
          text = text.slice(end + 4)
          switch (n++ % 12) {
            case 3:
              socket.destroy()
              return
            case 4:
              socket.resetAndDestroy()
              return
            case 5:
              socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart')
              socket.end()
              return
            case 6:
              socket.write('garbage\r\n\r\n')
              return
            case 7:
              socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n')
              break
            case 8:
              socket.write('HTTP/1.1 200 OK\r\n\r\nuntil close')
              socket.end()
              return
            case 9:
              socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n${'x'.repeat(40_000)}`)
              break
            case 10:
              socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more')
              return
            default:
              socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
          }
        }
      })
    })
    const before = resources()
    {
      await using relay = await startRelay(up.port)
      const requests = [
        'GET / HTTP/1.1\r\nHost: app\r\n\r\n',
        'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 3\r\n\r\nabc',
        'GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n',
        'GET / HTTP/1.0\r\nHost: app\r\n\r\n',
        'GET / HTTP/1.1\r\nHost: app\r\nExpect: never\r\n\r\n',
        'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzzz',
        // What is sent next breaks its body.
        'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
        'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 50\r\n\r\nabc',
      ]
      let sent = 0
      const client = async (): Promise<void> => {
        while (sent < 10_000) {
          const socket = net.connect({ port: relay.port, host: '127.0.0.1' })
          socket.on('error', () => {})
          // Some leave at once, some stay for several answers, some until the end.
          for (let i = 0; i < 5 && !socket.destroyed; i++) {
            const request = requests[sent++ % requests.length]!
            socket.write(request)
            if (sent % 11 === 0) break
            await Promise.race([once(socket, 'data'), once(socket, 'close')]).catch(() => {})
            if (request.includes('50')) break
          }
          if (sent % 2 === 0) socket.destroy()
          else socket.resetAndDestroy()
        }
      }
      await Promise.all(Array.from({ length: 20 }, client))
      await eventually(() => relay.server.connections === 0, 'no client connection is left')
      await eventually(
        () => relay.pools.sizes().every(({ open, idle, waiting }) => open === idle && waiting === 0),
        'none is under way',
      )
      assert.ok(relay.exchanges.length > 4_000)
      assert.equal(relay.exchanges.filter((exchange) => exchange.waiting !== undefined).length, 0)
    }
    await eventually(() => resources() <= before, 'sockets and timers are gone')
    process.off('warning', onWarning)
    assert.deepEqual(warnings, [])
  })
})

/** What would keep the process busy, but for the sockets of the test's own servers. */
function resources(): number {
  return process.getActiveResourcesInfo().filter((name) => name !== 'TTYWrap' && name !== 'PipeWrap').length
}
