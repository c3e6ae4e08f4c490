import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { createLog, type LogFormat, type LogLevel, messageOf } from './log.ts'

function logged(format: LogFormat, level: LogLevel = 'info') {
  const lines: string[] = []
  const log = createLog({
    clock: new FakeClock(),
    service: 'outrigger-sidecar',
    level,
    format,
    write: (line) => lines.push(line),
  })
  return { log, lines }
}

test('json: one ECS document per event', () => {
  const { log, lines } = logged('json')
  log.debug('not shown')
  log.named('control').warn('two\nlines', { 'client.address': '127.0.0.1:1', count: 2 })
  assert.equal(lines.length, 1)
  assert.equal(lines[0]?.endsWith('}\n'), true)
  assert.equal(lines[0]?.indexOf('\n'), lines[0]!.length - 1)
  assert.deepEqual(JSON.parse(lines[0]!), {
    '@timestamp': '2026-01-01T00:00:01.000Z',
    'log.level': 'warn',
    'log.logger': 'control',
    'ecs.version': '8.17.0',
    'service.name': 'outrigger-sidecar',
    message: 'two\nlines',
    'client.address': '127.0.0.1:1',
    count: 2,
  })
})

test('json: an error is told in ECS fields', () => {
  const { log, lines } = logged('json')
  log.error('failed', { error: new TypeError('broken') })
  const line = JSON.parse(lines[0]!) as Record<string, unknown>
  assert.equal(line['error.message'], 'broken')
  assert.equal(line['error.type'], 'TypeError')
  assert.match(String(line['error.stack_trace']), /log\.test\.ts/)
})

test('text: one line for people', () => {
  const { log, lines } = logged('text')
  log.debug('not shown')
  log
    .named('control')
    .warn('connected', { port: 15012, path: '/a b', revision: 7n, none: undefined, error: new Error('x\n  y') })
  assert.deepEqual(lines, ['00:00:01.000 warn  control: connected port=15012 path="/a b" revision=7 error="x y"\n'])
})

test('levels below the chosen one cost nothing and say nothing', () => {
  for (const format of ['json', 'text'] as const) {
    const { log, lines } = logged(format, 'error')
    log.info('a')
    log.warn('b')
    log.error('c')
    assert.equal(lines.length, 1)
  }
})

test('whatever was caught is one line', () => {
  assert.equal(messageOf(new Error('a\r\n   b')), 'a b')
  assert.equal(messageOf('text'), 'text')
  assert.equal(messageOf(undefined), 'undefined')
})
