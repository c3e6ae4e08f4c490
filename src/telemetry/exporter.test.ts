import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { sleep, systemClock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { Exporter } from './exporter.ts'
import { readTracingSettings } from './settings.ts'
import type { SpanData } from './spans.ts'

function span(i: number): SpanData {
  return {
    name: 'GET orders',
    kind: 'server',
    traceId: 'a'.repeat(32),
    spanId: i.toString(16).padStart(16, '0'),
    parentSpanId: '',
    parentRemote: false,
    traceState: '',
    startMs: 1,
    endMs: 2,
    attributes: {},
    events: [],
    error: undefined,
  }
}

class WarningLog implements Log {
  readonly lines: string[] = []
  debug(): void {}
  info(message: string): void {
    this.lines.push(message)
  }
  warn(message: string): void {
    this.lines.push(message)
  }
  error(message: string): void {
    this.lines.push(message)
  }
  named(): Log {
    return this
  }
}

async function collector(test: TestContext, answer: (server: Server) => void): Promise<string> {
  const server = createServer()
  answer(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  test.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`
}

function exporterTo(url: string, env: Record<string, string> = {}, log?: Log): Exporter {
  return new Exporter({
    settings: readTracingSettings({ OTEL_BSP_SCHEDULE_DELAY: '20', ...env }, url),
    resource: { 'service.name': 'web' },
    clock: systemClock,
    log,
  })
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (condition()) return
    await sleep(systemClock, 25)
  }
  assert.fail(`not within 10 s: ${what}`)
}

describe('Exporter', () => {
  it('sends spans and counts them', async (test) => {
    const types: string[] = []
    const url = await collector(test, (server) =>
      server.on('request', (request, response) => {
        types.push(request.headers['content-type'] ?? '')
        request.resume()
        response.end()
      }),
    )
    const exporter = exporterTo(url)
    exporter.add([span(1), span(2)])
    await until(() => exporter.exported === 2, 'two spans exported')
    assert.deepEqual(types, ['application/x-protobuf'])
    assert.equal(exporter.dropped, 0)
    exporter.add([span(3)])
    await exporter.close()
    assert.equal(exporter.exported, 3, 'close sends what is left')
    exporter.add([span(4)])
    assert.equal(exporter.dropped, 1, 'after close nothing is kept')
  })

  it('holds its queue and no more while the collector hangs, and counts every span once', async (test) => {
    const url = await collector(test, (server) => server.on('request', (request) => request.resume()))
    const exporter = exporterTo(url, { OTEL_BSP_MAX_QUEUE_SIZE: '100', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '10' })
    for (let i = 0; i < 50; i++) exporter.add([span(2 * i), span(2 * i + 1)])
    assert.equal(exporter.dropped, 0)
    // Off the first load, with the queue full and a batch on its way.
    await sleep(systemClock, 300)
    const started = performance.now()
    for (let i = 0; i < 10_000; i++) exporter.add([span(i)])
    assert.ok(performance.now() - started < 500, 'a hanging collector costs nothing')
    assert.equal(exporter.dropped, 10_000)
    const closing = performance.now()
    await exporter.close()
    assert.ok(performance.now() - closing < 4_000, 'nor does it hold up the end')
    assert.equal(exporter.dropped, 10_100)
    assert.equal(exporter.exported, 0)
  })

  it('says once that a collector refuses, and once that it takes spans again', async (test) => {
    let status = 400
    const url = await collector(test, (server) =>
      server.on('request', (request, response) => {
        request.resume()
        response.writeHead(status).end()
      }),
    )
    const log = new WarningLog()
    const exporter = exporterTo(url, {}, log)
    exporter.add([span(1)])
    await until(() => exporter.dropped === 1, 'first dropped')
    exporter.add([span(2)])
    await until(() => exporter.dropped === 2, 'second dropped')
    status = 200
    exporter.add([span(3)])
    await until(() => exporter.exported === 1, 'third exported')
    assert.deepEqual(log.lines, [
      'the collector does not take spans; they are dropped until it does',
      'the collector takes spans again',
    ])
    await exporter.close()
  })

  it('turns tracing off with a line that names the variables when the address is no address', async () => {
    const log = new WarningLog()
    const exporter = exporterTo('http://[not an address', {}, log)
    exporter.add([span(1)])
    await until(() => exporter.dropped === 1, 'dropped')
    assert.match(log.lines.join('\n'), /OTEL_/)
    exporter.add([span(2)])
    assert.equal(exporter.dropped, 2)
    await exporter.close()
  })
})
