import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadScenario, parseScenario } from './scenario.ts'

const examples = join(import.meta.dirname, '../../../examples')

const good = `
title: A
see: b
load:
  - { name: s, url: "http://web:8080/", rate: 10 }
phases:
  - name: one
expect:
  - { that: it works, measure: requests, atLeast: 1 }
`

test('every scenario of the examples reads', async () => {
  const names = readdirSync(join(examples, 'scenarios'))
  assert.deepEqual(names.toSorted(), [
    'breaker',
    'canary',
    'denied',
    'hedging',
    'permissive',
    'retries',
    'retry-budget',
    'slow',
  ])
  for (const name of names) {
    const { scenario } = await loadScenario(name, join(examples, 'shop'))
    const streams = new Set(
      [...scenario.load, ...scenario.phases.flatMap(({ load }) => load ?? [])].map(({ name: stream }) => stream),
    )
    const phases = new Set(scenario.phases.map((phase) => phase.name))
    for (const { bound, measure } of scenario.expect) {
      assert.ok(bound.in === undefined || phases.has(bound.in), `${name}: no phase ${bound.in}`)
      const stream = 'stream' in measure ? measure.stream : undefined
      assert.ok(stream === undefined || streams.has(stream), `${name}: no stream ${stream}`)
    }
  }
})

test('defaults are filled in', () => {
  const { load, phases, expect } = parseScenario(good, 'scenario.yaml')
  assert.deepEqual(load[0], { name: 's', url: 'http://web:8080/', rate: 10, headers: {}, via: 'mesh' })
  assert.deepEqual(phases[0], { name: 'one', share: 1, settle: 0, do: [] })
  assert.deepEqual(expect[0], { bound: { that: 'it works', atLeast: 1 }, measure: { measure: 'requests' } })
})

for (const [what, from, to, place] of [
  ['a rate of 0', 'rate: 10', 'rate: 0', /s\.yaml:5:47: load\.0\.rate: /],
  ['another scheme', 'http://web', 'ftp://web', /s\.yaml:5:21: load\.0\.url: /],
  ['an unknown field', 'name: one', 'nome: one', /s\.yaml:7:5: phases\.0/],
  ['an unknown measure', 'measure: requests', 'measure: happiness', /s\.yaml:9:32: expect\.0\.measure: /],
  ['no bound', ', atLeast: 1', '', /s\.yaml:9:5: expect\.0: needs atLeast, atMost, or both/],
  ['no YAML', 'load:', 'load: {', /s\.yaml:\d+:\d+: /],
] as const) {
  test(`refused with its place: ${what}`, () => {
    assert.throws(() => parseScenario(good.replace(from, to), 's.yaml'), place)
  })
}

test('a scenario that does not exist names those that do', async () => {
  await assert.rejects(loadScenario('canry', join(examples, 'shop')), /no scenario 'canry'.*there are: breaker, canary/)
})
