import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Exposition } from './exposition.ts'
import { Counters, Histograms, type MetricSpec, Readings } from './series.ts'

const spec: MetricSpec = {
  name: 'test_total',
  type: 'counter',
  help: 'for a test',
  labels: ['host', 'code'],
  seriesMax: 10,
}

describe('Counters', () => {
  it('adds to the series that the labels name', () => {
    const counters = new Counters(spec)
    const slot = counters.slot(['a', '200'])
    counters.add(slot, 2)
    counters.count(['a', '200'])
    counters.count(['a', '500'], 5)
    assert.equal(counters.slot(['a', '200']), slot)
    assert.deepEqual(
      counters.samples().map(({ sharedLabels, value }) => [sharedLabels, value]),
      [
        [{ host: 'a', code: '200' }, 3],
        [{ host: 'a', code: '500' }, 5],
      ],
    )
  })

  it('keeps label sets apart that would read alike when joined', () => {
    const counters = new Counters(spec)
    assert.notEqual(counters.slot(['a', 'b c']), counters.slot(['a b', 'c']))
  })

  it('holds its cap against 100,000 label sets and counts the rest as other', () => {
    const counters = new Counters(spec)
    for (let i = 0; i < 100_000; i++) counters.count([`host-${i}`, '200'])
    const samples = counters.samples()
    assert.equal(samples.length, 10)
    assert.deepEqual(samples.at(-1)?.sharedLabels, { host: 'other', code: 'other' })
    assert.equal(samples.at(-1)?.value, 100_000 - 9)
    assert.equal(counters.overflowed, 100_000 - 9)
    counters.count(['host-0', '200'])
    assert.equal(counters.samples()[0]?.value, 2, 'a series that was there goes on')
  })
})

describe('Histograms', () => {
  it('counts cumulatively, bounds included, with sum and count', () => {
    const histograms = new Histograms({ ...spec, name: 'test_seconds', type: 'histogram', labels: ['host'] }, [0.1, 1])
    for (let i = 0; i < 20; i++) histograms.slot([`h${i}`])
    const slot = histograms.slot(['h3'])
    for (const value of [0.05, 0.1, 0.5, 7]) histograms.observe(slot, value)
    const mine = histograms.samples().filter((sample) => sample.sharedLabels['host'] === 'h3')
    assert.deepEqual(
      mine.map(({ metricName, labels, value }) => [metricName, labels['le'] ?? '', Math.round(value * 100) / 100]),
      [
        ['test_seconds_bucket', '0.1', 2],
        ['test_seconds_bucket', '1', 3],
        ['test_seconds_bucket', '+Inf', 4],
        ['test_seconds_sum', '', 7.65],
        ['test_seconds_count', '', 4],
      ],
    )
  })
})

describe('Exposition', () => {
  it('escapes hostile label values: one line each, no label of their own', async () => {
    const counters = new Counters({ ...spec, labels: ['host'], seriesMax: 100 })
    const hostile = [
      'a"} 1\ninjected_total 9',
      'back\\slash',
      'cr\rlf\n',
      '\u001b[2J',
      'x'.repeat(10_000),
      '\u0000',
      'caf\u00e9',
    ]
    for (const value of hostile) counters.count([value])
    const text = await new Exposition([counters]).scrape()
    const lines = text.split('\n').filter((line) => line !== '')
    assert.equal(lines.length, 2 + hostile.length)
    for (const line of lines.slice(2)) {
      assert.match(line, /^test_total\{host="(?:[^"\\\n]|\\["\\n])*"\} 1$/)
      assert.ok(line.length < 600)
      assert.match(line, /^[\x20-\x7e\u00a0-\u00ff]+$/)
    }
  })

  it('shares one answer between scrapes that overlap, and reads anew afterwards', async () => {
    let reads = 0
    const readings = new Readings({ ...spec, type: 'gauge', labels: [] }, () => {
      reads++
      return [[[], reads]]
    })
    const exposition = new Exposition([readings])
    const [first, second] = await Promise.all([exposition.scrape(), exposition.scrape()])
    assert.equal(first, second)
    assert.equal(reads, 1)
    assert.match(await exposition.scrape(), /test_total 2\n/)
  })
})
