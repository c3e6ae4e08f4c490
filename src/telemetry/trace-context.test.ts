import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { attemptOf, exchangeOf } from '../../test/support/telemetry-exchange.ts'
import { IdPool } from './ids.ts'
import {
  attemptSpanId,
  childOf,
  contextLines,
  parseB3,
  parsePropagators,
  parseTraceparent,
  parseTracestate,
  takeParent,
  traceHeaderLines,
} from './trace-context.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'
const good = `00-${traceId}-${spanId}-01`
const w3c = parsePropagators(undefined)

describe('parseTraceparent', () => {
  it('reads the example of the specification', () => {
    assert.deepEqual(parseTraceparent(good), { traceId, spanId, sampled: true, state: '' })
    assert.equal(parseTraceparent(`00-${traceId}-${spanId}-00`)?.sampled, false)
  })

  it('looks at the sampled bit alone', () => {
    assert.equal(parseTraceparent(`00-${traceId}-${spanId}-ff`)?.sampled, true)
    assert.equal(parseTraceparent(`00-${traceId}-${spanId}-02`)?.sampled, false)
  })

  it('reads later versions by the fields it knows', () => {
    assert.equal(parseTraceparent(`cc-${traceId}-${spanId}-01-what-comes-later`)?.traceId, traceId)
    assert.equal(parseTraceparent(`cc-${traceId}-${spanId}-01`)?.traceId, traceId)
  })

  const bad = {
    empty: '',
    'version ff': `ff-${traceId}-${spanId}-01`,
    'version 00 with more': `${good}-x`,
    'a later version with more but no dash': `cc-${traceId}-${spanId}-01x`,
    'upper case': good.toUpperCase(),
    'trace id of zeros': `00-${'0'.repeat(32)}-${spanId}-01`,
    'span id of zeros': `00-${traceId}-${'0'.repeat(16)}-01`,
    'a letter that is no digit': `00-${traceId.replace('4', 'g')}-${spanId}-01`,
    'one digit short': `00-${traceId.slice(1)}-${spanId}-01`,
    'space around': ` ${good}`,
    'two in one': `${good},${good}`,
    'a line break inside': `00-${traceId}-${spanId}-01\r\nx: y`,
    'ten kilobytes': `cc-${traceId}-${spanId}-01-${'a'.repeat(10_000)}`,
    'dashes elsewhere': `00${traceId}-${spanId}--01-`,
  }
  for (const [name, value] of Object.entries(bad)) {
    it(`refuses ${name}`, () => assert.equal(parseTraceparent(value), undefined))
  }

  it('reads back whatever it would write', () => {
    const hex = (digits: number) =>
      fc.string({ unit: fc.constantFrom(...'0123456789abcdef'.split('')), minLength: digits, maxLength: digits })
    fc.assert(
      fc.property(hex(32), hex(16), fc.boolean(), (trace, span, sampled) => {
        fc.pre(!/^0+$/.test(trace) && !/^0+$/.test(span))
        const lines = contextLines({ traceId: trace, parentSpanId: '', spanId: span, sampled, state: '' }, span, w3c)
        const value = /^traceparent: (.*)\r\n$/.exec(lines)?.[1] ?? ''
        assert.deepEqual(parseTraceparent(value), { traceId: trace, spanId: span, sampled, state: '' })
      }),
    )
  })

  it('never throws and never accepts a value that could break a header', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (value) => {
        const parent = parseTraceparent(value)
        if (parent !== undefined) assert.match(parent.traceId + parent.spanId, /^[0-9a-f]{48}$/)
      }),
    )
  })
})

describe('parseTracestate', () => {
  it('passes members on, without the space around them and without empty ones', () => {
    assert.equal(
      parseTracestate('rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE,,tenant@vendor=a b'),
      'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,tenant@vendor=a b',
    )
  })

  it('drops all of it when a part is malformed', () => {
    for (const value of [
      'a',
      'A=1',
      'a=1,b',
      'a=\r\nx',
      'a=b=c',
      'a=\u0001',
      'a=\u00e9',
      '=1',
      `a=${'x'.repeat(600)}`,
    ]) {
      assert.equal(parseTracestate(value), '', JSON.stringify(value))
    }
    assert.equal(parseTracestate(Array.from({ length: 33 }, (_, i) => `k${i}=1`).join(',')), '')
    assert.notEqual(parseTracestate(Array.from({ length: 32 }, (_, i) => `k${i}=1`).join(',')), '')
  })

  it('takes time that grows with the length, not with its square', () => {
    const start = performance.now()
    parseTracestate('a'.repeat(65_000))
    parseTracestate(`a=${' '.repeat(500)}`)
    assert.ok(performance.now() - start < 100)
  })
})

describe('parseB3', () => {
  it('reads the single header in its forms', () => {
    assert.deepEqual(parseB3(`${traceId}-${spanId}-1-${spanId}`), { traceId, spanId, sampled: true, state: '' })
    assert.equal(parseB3(`${traceId}-${spanId}-0`)?.sampled, false)
    assert.equal(parseB3(`${traceId}-${spanId}-d`)?.sampled, true)
    assert.equal(parseB3(`${traceId}-${spanId}`)?.sampled, undefined)
    assert.equal(parseB3(`${spanId}-${spanId}-1`)?.traceId, spanId.padStart(32, '0'))
  })

  it('refuses what is not one', () => {
    for (const value of [
      '0',
      '1',
      'd',
      '',
      `${traceId}`,
      `${traceId}-${spanId}-2`,
      `${'0'.repeat(32)}-${spanId}-1`,
      `${traceId}-${spanId}-1-`,
    ]) {
      assert.equal(parseB3(value), undefined, value)
    }
  })
})

describe('takeParent', () => {
  it('takes the trace headers off in place and leaves the others in order', () => {
    const headers = ['A', '1', 'TraceParent', good, 'B', '2', 'tracestate', 'x=1', 'Tracestate', 'y=2', 'C', '3']
    assert.deepEqual(takeParent(headers, w3c), { traceId, spanId, sampled: true, state: 'x=1,y=2' })
    assert.deepEqual(headers, ['A', '1', 'B', '2', 'C', '3'])
  })

  it('starts a new trace when traceparent is malformed, repeated or empty, and drops tracestate with it', () => {
    for (const values of [['nonsense'], [good, good], [''], ['', good]]) {
      const headers = [...values.flatMap((value) => ['traceparent', value]), 'tracestate', 'x=1', 'A', '1']
      assert.equal(takeParent(headers, w3c), undefined)
      assert.deepEqual(headers, ['A', '1'])
    }
  })

  it('keeps the parent when only tracestate is malformed', () => {
    assert.deepEqual(takeParent(['traceparent', good, 'tracestate', 'BAD'], w3c), {
      traceId,
      spanId,
      sampled: true,
      state: '',
    })
  })

  it('leaves formats alone that OTEL_PROPAGATORS does not name', () => {
    const headers = ['b3', `${traceId}-${spanId}-1`, 'x-b3-traceid', traceId, 'X-B3-SpanId', spanId]
    const before = [...headers]
    assert.equal(takeParent(headers, w3c), undefined)
    assert.deepEqual(headers, before)
    const own = ['traceparent', good]
    assert.equal(takeParent(own, parsePropagators('b3')), undefined)
    assert.deepEqual(own, ['traceparent', good])
  })

  it('reads B3 in many headers', () => {
    const use = parsePropagators('b3multi')
    const headers = [
      'X-B3-TraceId',
      traceId,
      'X-B3-SpanId',
      spanId,
      'X-B3-ParentSpanId',
      spanId,
      'X-B3-Sampled',
      '1',
      'A',
      '1',
    ]
    assert.deepEqual(takeParent(headers, use), { traceId, spanId, sampled: true, state: '' })
    assert.deepEqual(headers, ['A', '1'])
    assert.equal(takeParent(['x-b3-traceid', traceId, 'x-b3-spanid', spanId, 'x-b3-flags', '1'], use)?.sampled, true)
    assert.equal(takeParent(['x-b3-traceid', traceId, 'x-b3-spanid', spanId], use)?.sampled, undefined)
    assert.equal(takeParent(['x-b3-traceid', traceId], use), undefined)
    assert.equal(takeParent(['x-b3-traceid', `${traceId}\r\n`, 'x-b3-spanid', spanId], use), undefined)
  })

  it('prefers W3C, and falls back to B3 when it is malformed', () => {
    const use = parsePropagators('tracecontext,baggage,b3')
    assert.equal(takeParent(['b3', `${spanId}-${spanId}-0`, 'traceparent', good], use)?.traceId, traceId)
    assert.equal(takeParent(['traceparent', 'bad', 'b3', `${spanId}-${spanId}-0`], use)?.sampled, false)
  })

  it('leaves headers untouched that only resemble them', () => {
    const headers = ['traceparenx', good, 'xtracestate', 'x', 'b4', '1', 'x-b3-tracei', '1']
    const before = [...headers]
    takeParent(headers, parsePropagators('tracecontext,b3,b3multi'))
    assert.deepEqual(headers, before)
  })
})

describe('childOf', () => {
  it('continues the trace of its parent and follows its sampling', () => {
    const parent = { traceId, spanId, sampled: true, state: 'x=1' }
    const trace = childOf(parent, false)
    assert.equal(trace.traceId, traceId)
    assert.equal(trace.parentSpanId, spanId)
    assert.notEqual(trace.spanId, spanId)
    assert.equal(trace.sampled, true)
    assert.equal(trace.state, 'x=1')
    assert.equal(childOf({ ...parent, sampled: false }, true).sampled, false)
  })

  it('lets the root decide when there is no parent or it left the choice', () => {
    assert.equal(childOf(undefined, true).sampled, true)
    assert.equal(childOf(undefined, true).parentSpanId, '')
    assert.equal(childOf({ traceId, spanId, sampled: undefined, state: '' }, true).sampled, true)
  })
})

describe('traceHeaderLines', () => {
  it('names the try when it is traced and the exchange otherwise', () => {
    const exchange = exchangeOf()
    assert.equal(traceHeaderLines(exchange, undefined), '')
    exchange.trace = { traceId, parentSpanId: '', spanId, sampled: false, state: '' }
    assert.equal(traceHeaderLines(exchange, attemptOf()), `traceparent: 00-${traceId}-${spanId}-00\r\n`)
    assert.equal(attemptSpanId(exchange), '')
    exchange.trace = { ...exchange.trace, sampled: true, state: 'x=1' }
    exchange.decisions = []
    const attempt = attemptOf({ spanId: attemptSpanId(exchange) })
    assert.match(attempt.spanId, /^[0-9a-f]{16}$/)
    assert.equal(
      traceHeaderLines(exchange, attempt),
      `traceparent: 00-${traceId}-${attempt.spanId}-01\r\ntracestate: x=1\r\n`,
    )
  })

  it('writes each format that was asked for', () => {
    const trace = { traceId, parentSpanId: '', spanId, sampled: true, state: '' }
    assert.equal(
      contextLines(trace, spanId, parsePropagators('b3,b3multi')),
      `b3: ${traceId}-${spanId}-1\r\nx-b3-traceid: ${traceId}\r\nx-b3-spanid: ${spanId}\r\nx-b3-sampled: 1\r\n`,
    )
    assert.equal(contextLines(trace, spanId, parsePropagators('none')), '')
  })
})

describe('IdPool', () => {
  it('draws anew when it is used up, and never gives an id of zeros', () => {
    let draws = 0
    const pool = new IdPool((bytes) => {
      draws++
      bytes.fill(draws === 1 ? 0 : draws)
    })
    assert.equal(pool.traceId(), '02'.repeat(16))
    assert.equal(pool.spanId(), '02'.repeat(8))
    assert.equal(draws, 2)
  })

  it('repeats nothing', () => {
    const pool = new IdPool()
    const seen = new Set(Array.from({ length: 10_000 }, () => pool.spanId()))
    assert.equal(seen.size, 10_000)
  })
})
