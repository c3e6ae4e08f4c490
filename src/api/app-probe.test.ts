import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readAppProbes } from './app-probe.ts'

const path = '/app-health/web/readyz'
const http = {
  kind: 'http',
  port: 8080,
  path: '/ready?full=1',
  tls: false,
  headers: [['Host', 'shop.example']],
  timeoutMs: 1_000,
}

function read(value: unknown): { probes: unknown; problems: string[] } {
  const problems: string[] = []
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return { probes: readAppProbes(text, (problem) => problems.push(problem)), problems }
}

describe('probes of the application', () => {
  it('are what injection wrote', () => {
    const given = {
      [path]: http,
      '/app-health/web/livez': { kind: 'tcp', port: 1, timeoutMs: 5 },
      '/app-health/a-2/startupz': { kind: 'grpc', port: 65_535, service: '', timeoutMs: 86_400_000 },
    }
    assert.deepEqual(read(given), { probes: given, problems: [] })
    assert.deepEqual(read('{}'), { probes: {}, problems: [] })
  })

  it('are refused with the place of each mistake', () => {
    const cases: readonly (readonly [given: unknown, problem: RegExp])[] = [
      ['{', /^expected JSON, as injection writes it: /],
      ['[]', /^expected a JSON object/],
      ['null', /^expected a JSON object/],
      [{ '/metrics': http }, /^'\/metrics' is no path of a probe/],
      [{ '/app-health/../livez': http }, /is no path of a probe/],
      [{ '/app-health/Web/livez': http }, /is no path of a probe/],
      [{ [path]: 1 }, /readyz: expected an object/],
      [{ [path]: { ...http, kind: 'exec' } }, /kind: expected http, tcp or grpc, got "exec"/],
      [{ [path]: { ...http, kind: undefined } }, /kind: expected http, tcp or grpc, got nothing/],
      [{ [path]: { ...http, service: 'x' } }, /service: not known for a probe of kind http/],
      [{ [path]: { ...http, port: 0 } }, /port: expected 1 to 65535, got 0/],
      [{ [path]: { ...http, port: '8080' } }, /port: .* got "8080"/],
      [{ [path]: { ...http, timeoutMs: 1.5 } }, /timeoutMs: .* got 1.5/],
      [{ [path]: { ...http, path: 'ready' } }, /path: expected a path such as/],
      [{ [path]: { ...http, path: '/a b' } }, /path: expected/],
      [{ [path]: { ...http, path: '/a\r\nx: y' } }, /path: expected/],
      [{ [path]: { ...http, tls: 'yes' } }, /tls: expected true or false/],
      [{ [path]: { ...http, headers: {} } }, /headers: expected a list/],
      [
        {
          [path]: {
            ...http,
            headers: [
              ['a', 'b'],
              ['a b', 'c'],
            ],
          },
        },
        /headers\[1\]: expected \[name, value\]/,
      ],
      [{ [path]: { ...http, headers: [['a', 'b\nc']] } }, /headers\[0\]/],
      [{ [path]: { ...http, headers: [['a']] } }, /headers\[0\]/],
      [{ [path]: { kind: 'grpc', port: 1, timeoutMs: 1 } }, /service: expected a text/],
    ]
    for (const [given, problem] of cases) {
      const { problems } = read(given)
      assert.equal(problems.length, 1, `${JSON.stringify(given)}: ${problems.join(' | ')}`)
      assert.match(problems[0]!, problem)
    }
  })

  it('have all their mistakes said at once', () => {
    assert.equal(read({ [path]: { ...http, port: 0, tls: 0 }, '/x': { ...http, timeoutMs: 0 } }).problems.length, 4)
  })
})
