import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Tally } from '../load/tally.ts'
import { type AppCounts, type Check, checkAll, type PhaseRecord } from './checks.ts'
import type { Bound, Measure } from './scenario.ts'

function tally(statuses: Readonly<Record<number, number>>, latencyMs = 1, header = ''): Tally {
  const made = new Tally(['x-why'])
  for (const [status, count] of Object.entries(statuses)) {
    for (let i = 0; i < count; i++) made.answered(Number(status), latencyMs, () => (header === '' ? undefined : header))
  }
  return made
}

function record(name: string, tallies: Record<string, Tally>, apps: Record<string, AppCounts> = {}): PhaseRecord {
  return { name, seconds: 2, tallies: new Map(Object.entries(tallies)), apps: new Map(Object.entries(apps)) }
}

function check(
  measure: Measure,
  bound: Omit<Bound, 'that'>,
  records: readonly PhaseRecord[],
  transitions = new Map<string, number>(),
): Check {
  const [only] = checkAll([{ measure, bound: { that: 'x', ...bound } }], records, transitions)
  assert.ok(only)
  return only
}

const mixed = record(
  'one',
  { s: tally({ 200: 75, 403: 20, 503: 5 }, 12, 'by P/x') },
  { a: { requests: 90, bytes: 7, byPath: { '/p': 3 } }, b: { requests: 10, bytes: 0, byPath: {} } },
)

const table: readonly [Measure, string][] = [
  [{ measure: 'requests' }, '100'],
  [{ measure: 'requestsPerSecond' }, '50/s'],
  [{ measure: 'errorPercent' }, '25 %'],
  [{ measure: 'statusPercent', status: 403 }, '20 %'],
  [{ measure: 'headerPercent', header: 'x-why', contains: 'P/x' }, '100 %'],
  [{ measure: 'headerPercent', header: 'x-why', contains: 'Q' }, '0 %'],
  [{ measure: 'slowestMs' }, '12 ms'],
  [{ measure: 'percentileMs', percent: 50 }, '12 ms'],
  [{ measure: 'appRequests', app: 'a' }, '90'],
  [{ measure: 'appRequests', app: 'a', path: '/p' }, '3'],
  [{ measure: 'appRequests', app: 'b', path: '/p' }, '0'],
  [{ measure: 'appRequestsPerSecond', app: 'b' }, '5/s'],
  [{ measure: 'appBytes', app: 'a' }, '7'],
  [{ measure: 'appSharePercent', app: 'b', of: ['a', 'b'] }, '10 %'],
]

for (const [measure, measured] of table) {
  test(`${JSON.stringify(measure)} is ${measured}`, () => {
    assert.equal(check(measure, { atLeast: 0 }, [mixed]).measured, measured)
  })
}

test('bounds hold at their ends and not past them', () => {
  const measure = { measure: 'errorPercent' } as const
  assert.deepEqual(check(measure, { atLeast: 25, atMost: 25 }, [mixed]), {
    that: 'x',
    bound: '25 %',
    measured: '25 %',
    ok: true,
  })
  assert.equal(check(measure, { atMost: 24.9 }, [mixed]).ok, false)
  assert.equal(check(measure, { atLeast: 25.1 }, [mixed]).ok, false)
  assert.equal(check(measure, { atLeast: 20, atMost: 30 }, [mixed]).bound, '20 to 30 %')
})

test('a figure that is not there fails, whatever the bound', () => {
  const nothing = record('one', { s: tally({}) })
  for (const measure of [
    { measure: 'errorPercent' },
    { measure: 'slowestMs' },
    { measure: 'appRequests', app: 'gone' },
  ] as const) {
    const { ok, measured } = check(measure, { atMost: 1_000_000 }, [nothing])
    assert.deepEqual([ok, measured], [false, 'nothing'])
  }
  assert.equal(check({ measure: 'requests' }, { in: 'never', atLeast: 0 }, [mixed]).ok, false)
})

test('requests without an answer are errors', () => {
  const broken = tally({ 200: 3 })
  broken.failed('ECONNRESET')
  assert.equal(check({ measure: 'errorPercent' }, { atMost: 100 }, [record('one', { s: broken })]).measured, '25 %')
})

test('one phase and one stream only', () => {
  const records = [
    record('one', { s: tally({ 200: 1 }), t: tally({ 500: 1 }) }),
    record('two', { s: tally({ 500: 3 }) }),
  ]
  assert.equal(check({ measure: 'errorPercent', stream: 's' }, { in: 'one', atMost: 0 }, records).ok, true)
  assert.equal(check({ measure: 'errorPercent' }, { in: 'one', atMost: 0 }, records).measured, '50 %')
  assert.equal(check({ measure: 'errorPercent' }, { atMost: 0 }, records).measured, '80 %')
})

test('transitions of the named breaker', () => {
  const seen = new Map([['client inventory open', 2]])
  const measure = { measure: 'breakerTransitions', workload: 'client', service: 'inventory' } as const
  assert.equal(check({ ...measure, to: 'open' }, { atLeast: 1 }, [mixed], seen).measured, '2')
  assert.equal(check({ ...measure, to: 'closed' }, { atLeast: 1 }, [mixed], seen).ok, false)
})
