import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { OptionsError, parseDuration, parseHostPort, parseProxyOptions } from './options.ts'

const needed = ['--workload', 'shop/web-0', '--trust-bundle', 'root.pem']

function problems(argv: readonly string[], env: Record<string, string> = {}): readonly string[] {
  try {
    parseProxyOptions(argv, env)
  } catch (error) {
    if (error instanceof OptionsError) return error.problems
    throw error
  }
  return []
}

describe('options of the sidecar', () => {
  it('have defaults for all that can have one', () => {
    const options = parseProxyOptions(needed, {})
    assert.deepEqual(options, {
      namespace: 'shop',
      workload: 'web-0',
      controlPlane: '127.0.0.1:15012',
      trustBundleFile: 'root.pem',
      tokenFd: undefined,
      tokenFile: undefined,
      stateDir: undefined,
      capture: 'explicit',
      outbound: [{ host: '127.0.0.1', port: 15_001 }],
      inbound: [],
      inboundCapture: [],
      upstreams: [],
      admin: { host: '127.0.0.1', port: 15_000 },
      metrics: { host: '127.0.0.1', port: 15_020 },
      health: { host: '127.0.0.1', port: 15_021 },
      traces: undefined,
      accessLog: undefined,
      workers: 1,
      drainTimeoutMs: 30_000,
      detectTimeoutMs: 200,
      logLevel: 'info',
      appProbes: {},
    })
  })

  it('come from the environment where no flag says otherwise', () => {
    const env = { OUTRIGGER_WORKLOAD: 'a/b', OUTRIGGER_TRUST_BUNDLE: 'x', OUTRIGGER_DRAIN_TIMEOUT: '1m30s' }
    assert.equal(parseProxyOptions([], env).drainTimeoutMs, 90_000)
    assert.equal(parseProxyOptions(['--drain-timeout', '5s'], env).drainTimeoutMs, 5_000)
    const many = { ...env, OUTRIGGER_INBOUND: '127.0.0.2:80=127.0.0.1:8080,[::1]:81=127.0.0.1:8081' }
    assert.deepEqual(parseProxyOptions([], many).inbound, [
      { at: { host: '127.0.0.2', port: 80 }, app: { host: '127.0.0.1', port: 8080 } },
      { at: { host: '::1', port: 81 }, app: { host: '127.0.0.1', port: 8081 } },
    ])
  })

  it('take from 1 to 32 workers', () => {
    for (const [text, workers] of [
      ['1', 1],
      ['32', 32],
    ] as const)
      assert.equal(parseProxyOptions(needed, { OUTRIGGER_WORKERS: text }).workers, workers)
    for (const text of ['0', '33', '-1', '1e1', 'two', ' 2', '0x2', '99999999999999999999'])
      assert.match(
        problems([...needed, `--workers=${text}`]).join(),
        /--workers \(OUTRIGGER_WORKERS\): expected a whole/,
      )
  })

  it('treat an empty variable as an unset one', () => {
    const empty = Object.fromEntries(
      ['CONTROL_PLANE', 'ADDRESS', 'CAPTURE', 'DRAIN_TIMEOUT', 'DETECT_TIMEOUT', 'LOG_LEVEL', 'OUTBOUND', 'ADMIN'].map(
        (name) => [`OUTRIGGER_${name}`, ''],
      ),
    )
    assert.deepEqual(parseProxyOptions(needed, empty), parseProxyOptions(needed, {}))
  })

  it('listen for captured traffic of both families under redirect', () => {
    const options = parseProxyOptions([...needed, '--capture', 'redirect'], {})
    assert.deepEqual(options.outbound, [
      { host: '0.0.0.0', port: 15_001 },
      { host: '::', port: 15_001 },
    ])
    assert.deepEqual(options.inboundCapture, [
      { host: '0.0.0.0', port: 15_006 },
      { host: '::', port: 15_006 },
    ])
  })

  it('put every listener on --address, of either family', () => {
    const options = parseProxyOptions([...needed, '--address', '::1'], {})
    for (const at of [options.outbound[0], options.admin, options.metrics, options.health])
      assert.equal(at?.host, '::1')
  })

  it('report every problem at once, each with its flag and variable', () => {
    const found = problems([
      '--workload',
      'web-0',
      '--capture',
      'magic',
      '--outbound',
      'nowhere',
      '--inbound',
      '127.0.0.1:80',
      '--upstream',
      '127.0.0.1:80=orders',
      '--drain-timeout',
      '30',
      '--token-fd',
      'x',
      '--control-plane',
      'cp',
      '--log-level',
      'loud',
      '--access-log',
      'xml',
      '--workers',
      '2.5',
      '--app-probes',
      '{"/x":1}',
    ])
    for (const [flag, text] of [
      ['workload', /expected NAMESPACE\/NAME, got 'web-0'/],
      ['trust-bundle', /required/],
      ['capture', /expected explicit \| redirect, got 'magic'/],
      ['outbound', /expected HOST:PORT, got 'nowhere'/],
      ['inbound', /expected LISTEN=TARGET, got '127\.0\.0\.1:80'/],
      ['upstream', /expected SERVICE:PORT after '=', got 'orders'/],
      ['drain-timeout', /expected a duration .* got '30'/],
      ['token-fd', /expected a number, got 'x'/],
      ['control-plane', /expected HOST:PORT, got 'cp'/],
      ['log-level', /got 'loud'/],
      ['access-log', /got 'xml'/],
      ['workers', /expected a whole number from 1 to 32, got '2\.5'/],
      ['app-probes', /'\/x' is no path of a probe/],
    ] as const) {
      const problem = found.find((line) => line.startsWith(`--${flag} (OUTRIGGER_`))
      assert.match(problem ?? `nothing about --${flag}`, text)
    }
    assert.equal(found.length, 14)
  })

  it('refuse what is no flag', () => {
    assert.match(problems([...needed, '--wrokload', 'x'])[0] ?? '', /--wrokload/)
    assert.equal(problems([...needed, 'stray']).length, 1)
  })
})

describe('parseHostPort', () => {
  for (const [text, wanted] of [
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['name:65535', { host: 'name', port: 65_535 }],
    ['name:65536', undefined],
    ['::1:80', undefined],
    [':80', undefined],
    ['name', undefined],
    ['name:', undefined],
    ['name:-1', undefined],
    ['[name]:80', undefined],
  ] as const) {
    it(`${text} is ${wanted === undefined ? 'refused' : `${wanted.host} and ${wanted.port}`}`, () => {
      assert.deepEqual(parseHostPort(text), wanted)
    })
  }
})

describe('parseDuration', () => {
  for (const [text, wanted] of [
    ['250ms', 250],
    ['1m', 60_000],
    ['1h2m3s4ms', 3_723_004],
    ['0s', 0],
    ['1.5s', undefined],
    ['10', undefined],
    ['', undefined],
    ['-1s', undefined],
    ['1d', undefined],
    [' 1s', undefined],
  ] as const) {
    it(`${JSON.stringify(text)} is ${wanted}`, () => assert.equal(parseDuration(text), wanted))
  }
})
