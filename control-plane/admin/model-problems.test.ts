import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Document } from '../../src/api/documents/document.ts'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { silentLog } from '../../src/base/log.ts'
import { LinesLog } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { ModelProblems, modelProblemLimits } from './model-problems.ts'

const route = (backend: string) =>
  `apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{group: "", kind: Service, name: orders}], rules: [{backendRefs: [{name: ${backend}, port: 80}]}]}\n`
const service = 'apiVersion: v1\nkind: Service\nmetadata: {name: orders}\nspec: {ports: [{name: http, port: 80}]}\n'
const documents = (...texts: string[]): readonly Document[] =>
  loadDocuments([{ path: 'x.yaml', text: texts.join('---\n') }]).documents

test('finds what is wrong between documents, once a change, and keeps its time', async () => {
  const clock = new FakeClock()
  const model = new ModelProblems(clock, silentLog)
  model.check(documents(service, route('ordrs')))
  assert.equal(model.current.length, 0, 'publishing comes first')
  await clock.advance(modelProblemLimits.quietMs)
  const [first] = model.current
  assert.equal(first?.problem.code, 'dangling-reference')
  assert.equal(first.problem.suggestion, 'orders')
  assert.deepEqual([first.problem.file, first.problem.line], ['x.yaml', 9])
  assert.equal(clock.pendingTimers, 0)
  await clock.advance(5_000)
  const again = documents(service, route('ordrs'))
  model.check(again)
  await clock.advance(1_000)
  assert.equal(model.current[0]?.sinceMs, first.sinceMs)
  model.check(again)
  assert.equal(clock.pendingTimers, 0, 'the same documents are not checked twice')
  model.check(documents(service, route('orders')))
  await clock.advance(1_000)
  assert.equal(model.current.length, 0)
})

test('a burst is one check of the newest, and none comes after the end', async () => {
  const clock = new FakeClock()
  const model = new ModelProblems(clock, silentLog)
  for (let at = 0; at < 20; at++) model.check(documents(service, route('ordrs')))
  model.check(documents(service, route('orders')))
  assert.equal(clock.pendingTimers, 1)
  await clock.advance(1_000)
  assert.equal(model.current.length, 0)
  model.check(documents(service, route('ordrs')))
  model.stop()
  assert.equal(clock.pendingTimers, 0)
})

test('after a long check comes a long rest', async () => {
  const clock = new FakeClock()
  let now = 0
  // Every look at the clock is a second later: the check takes one.
  const model = new ModelProblems({ ...clockOf(clock), now: () => (now += 1_000) }, silentLog)
  model.check(documents(service))
  await clock.advance(modelProblemLimits.quietMs)
  model.check(documents(service, route('ordrs')))
  await clock.advance(7_000)
  assert.equal(model.current.length, 0)
  await clock.advance(2_000)
  assert.equal(model.current.length, 1)
})

test('very many selectors are not compared, and that is told; the rest is checked', async () => {
  const clock = new FakeClock()
  const model = new ModelProblems(clock, silentLog)
  const many = Array.from({ length: 300 }, (_, at) => [
    `apiVersion: v1\nkind: Pod\nmetadata: {name: p${at}, labels: {app: a}}\nspec: {serviceAccountName: x}\n`,
    `apiVersion: outrigger.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: {name: p${at}}\nspec: {selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}}\n`,
  ]).flat()
  const startedAt = performance.now()
  model.check(documents(service, route('ordrs'), ...many))
  await clock.advance(1_000)
  assert.deepEqual(
    model.current.map(({ problem }) => problem.code),
    ['not-checked', 'dangling-reference'],
  )
  assert.ok(performance.now() - startedAt < 5_000)
})

test('very many problems are cut short', async () => {
  const clock = new FakeClock()
  const model = new ModelProblems(clock, silentLog)
  const many = Array.from({ length: modelProblemLimits.problemsMax + 7 }, (_, at) =>
    route('ordrs').replace('name: r}', `name: r${at}}`),
  )
  model.check(documents(service, ...many))
  await clock.advance(1_000)
  assert.equal(model.current.length, modelProblemLimits.problemsMax + 1)
  assert.equal(model.current.at(-1)?.problem.message, '7 more problems between documents are not listed')
})

test('a fault in a check is logged and changes nothing', async () => {
  const clock = new FakeClock()
  const log = new LinesLog()
  const model = new ModelProblems(clock, log)
  model.check([{ kind: 'HTTPRoute' } as unknown as Document])
  await clock.advance(1_000)
  assert.equal(model.current.length, 0)
  assert.match(log.lines[0] ?? '', /^error the documents could not be checked against each other/)
})

/** A FakeClock has private state: a copy of it needs its methods bound. */
function clockOf(clock: FakeClock) {
  return {
    wall: () => clock.wall(),
    after: clock.after.bind(clock),
    every: clock.every.bind(clock),
    random: () => clock.random(),
  }
}
