import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { readTracingSettings } from './settings.ts'
import { WallTime } from './wall-time.ts'

const store = 'http://127.0.0.1:15014/v1/traces'

describe('readTracingSettings', () => {
  it('sends to the store of the control plane when nothing names a collector', () => {
    const settings = readTracingSettings({}, store)
    assert.deepEqual(settings, {
      enabled: true,
      url: store,
      samplingPpm: 10_000,
      scheduleDelayMs: 500,
      exportTimeoutMs: 30_000,
      queueSpansMax: 2_048,
      batchSpansMax: 512,
      warnings: [],
    })
  })

  it('leaves the address to the exporter when a variable names one', () => {
    for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
      const settings = readTracingSettings({ [name]: 'http://collector:4318' }, store)
      assert.equal(settings.url, undefined)
      assert.equal(settings.enabled, true)
      assert.equal(settings.scheduleDelayMs, 5_000)
    }
    assert.equal(readTracingSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, store).url, store)
  })

  it('is off when it is told so or has nowhere to send', () => {
    assert.equal(readTracingSettings({ OTEL_SDK_DISABLED: 'true' }, store).enabled, false)
    assert.equal(readTracingSettings({ OTEL_SDK_DISABLED: 'no' }, store).enabled, true)
    assert.equal(readTracingSettings({ OTEL_TRACES_EXPORTER: 'none' }, store).enabled, false)
    assert.equal(readTracingSettings({}, undefined).enabled, false)
  })

  it('reads samplers and batch sizes', () => {
    const ppm = (env: Record<string, string>) => readTracingSettings(env, store).samplingPpm
    assert.equal(ppm({ OTEL_TRACES_SAMPLER: 'always_on' }), 1_000_000)
    assert.equal(ppm({ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }), 0)
    assert.equal(ppm({ OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.25' }), 250_000)
    const settings = readTracingSettings({ OTEL_BSP_MAX_QUEUE_SIZE: '100', OTEL_BSP_SCHEDULE_DELAY: '50' }, store)
    assert.deepEqual([settings.queueSpansMax, settings.batchSpansMax, settings.scheduleDelayMs], [100, 100, 50])
  })

  it('says what it did not understand, and goes on with the default', () => {
    const settings = readTracingSettings(
      {
        OTEL_BSP_MAX_QUEUE_SIZE: '-1',
        OTEL_BSP_SCHEDULE_DELAY: 'soon',
        OTEL_TRACES_SAMPLER: 'traceidratio',
        OTEL_TRACES_SAMPLER_ARG: '7',
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4317',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      },
      store,
    )
    assert.deepEqual([settings.queueSpansMax, settings.scheduleDelayMs, settings.samplingPpm], [2_048, 5_000, 10_000])
    assert.equal(settings.warnings.length, 4)
    assert.match(settings.warnings.join('\n'), /4318/)
    assert.match(
      readTracingSettings({ OTEL_TRACES_SAMPLER: 'jaeger_remote' }, store).warnings[0] ?? '',
      /jaeger_remote/,
    )
  })
})

describe('WallTime', () => {
  it('turns clock milliseconds into Unix time and follows a clock that is set', async () => {
    const clock = new FakeClock()
    let skew = 0
    const wall = new WallTime({ ...bound(clock), wall: () => Math.floor(clock.wall() + skew) })
    assert.equal(wall.at(clock.now() + 0.25), clock.wall() + 0.25)
    await clock.advance(10.6)
    assert.ok(Math.abs(wall.at(clock.now()) - clock.wall()) < 0.001, 'whole milliseconds of the wall do not show')
    skew = -60_000
    assert.ok(Math.abs(wall.at(clock.now()) - (clock.wall() - 60_000)) < 1)
    skew = 60_000
    assert.ok(Math.abs(wall.at(clock.now()) - (clock.wall() + 60_000)) < 1)
  })
})

function bound(clock: FakeClock) {
  return {
    now: () => clock.now(),
    after: clock.after.bind(clock),
    every: clock.every.bind(clock),
    random: () => clock.random(),
  }
}
