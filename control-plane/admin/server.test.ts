import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { LinesLog } from '../../test/support/control.ts'
import { AdminServer, json } from './server.ts'

const log = new LinesLog()
const admin = new AdminServer({ log, host: '127.0.0.1', port: 0 })
admin.route('GET', '/status', (_request, response) => json(response, { ok: true }))
admin.route('GET', '/things', (_request, response) => json(response, 'list'))
admin.route('GET', '/things/', (request, response) => json(response, request.url))
admin.route('GET', '/things/last', (_request, response) => json(response, 'last'))
admin.route('POST', '/things', async (request, response) => {
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) bytes += chunk.length
  json(response, bytes)
})
admin.route('GET', '/broken', () => Promise.reject(new Error('it broke')))

before(() => admin.start())
after(() => admin.stop())

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

function ask(
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = options
    const request = httpRequest(
      { host: '127.0.0.1', port: admin.port, path, method, headers, agent: false },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }))
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

describe('AdminServer', () => {
  test('takes the exact path before a prefix', async () => {
    assert.equal((await ask('/status')).body, '{"ok":true}\n')
    assert.equal((await ask('/things?limit=3')).body, '"list"\n')
    assert.equal((await ask('/things/last')).body, '"last"\n')
    assert.equal((await ask('/things/7?x')).body, '"/things/7?x"\n')
    assert.equal((await ask('/things', { method: 'POST', body: 'four' })).body, '4\n')
  })

  test('says what there is, and which method is for it', async () => {
    const missing = await ask('/nothing')
    assert.equal(missing.status, 404)
    assert.match(missing.body, /there is: \/status \/things/)
    const wrong = await ask('/things', { method: 'DELETE' })
    assert.equal(wrong.status, 405)
    assert.equal(wrong.headers['allow'], 'GET, POST')
    const head = await ask('/status', { method: 'HEAD' })
    assert.deepEqual([head.status, head.body], [200, ''])
  })

  test('a route that fails is a 500 and a line in the log', async () => {
    const answer = await ask('/broken')
    assert.equal(answer.status, 500)
    assert.match(answer.body, /it broke/)
    assert.match(log.lines.at(-1) ?? '', /GET \/broken failed/)
  })

  test('is not readable by a web page that gave its own name to this address, nor by another page', async () => {
    for (const host of [
      'evil.example',
      'evil.example:15014',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '127.0.0.1:x',
      '[::1',
    ]) {
      assert.equal((await ask('/status', { headers: { host } })).status, 403, host)
    }
    for (const host of [
      '127.0.0.1',
      '127.0.0.1:15014',
      'localhost:15014',
      'LOCALHOST',
      '[::1]:15014',
      'mesh.localhost',
    ]) {
      assert.equal((await ask('/status', { headers: { host } })).status, 200, host)
    }
    assert.equal((await ask('/status', { headers: { origin: 'https://evil.example' } })).status, 403)
    assert.equal((await ask('/status', { headers: { origin: 'null' } })).status, 403)
  })

  test('a port in use is one line with the remedy', async () => {
    const second = new AdminServer({ log, host: '127.0.0.1', port: admin.port })
    await assert.rejects(
      second.start(),
      /cannot listen on 127\.0\.0\.1:\d+ for status and traces: the port is in use: .*--admin-port/,
    )
    const elsewhere = new AdminServer({ log, host: '192.0.2.1', port: 0 })
    await assert.rejects(elsewhere.start(), /this machine does not have that address: choose another with --host/)
  })
})
