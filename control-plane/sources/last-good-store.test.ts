import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { temporaryFolder } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type GoodFolder, LastGoodStore, lastGoodLimits } from './last-good-store.ts'

const name = 'last-good-documents'

function open(state: StateFolder, onProblem = (): void => {}): LastGoodStore {
  return new LastGoodStore({ state, clock: new FakeClock(), log: silentLog, onProblem })
}

function holding(text: string): GoodFolder {
  return { files: { 'a.yaml': [{ text, readAtMs: 5, keys: ['Service/default/a'] }] }, gaps: ['a gap'] }
}

test('what was saved is there again, private; other folders of earlier runs too', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  const first = open(state)
  assert.equal((await first.load()).size, 0)
  first.save(new Map([['/one', holding('1')]]))
  first.save(new Map([['/one', holding('2')]]))
  await first.close()
  assert.equal(statSync(join(folder.path, name)).mode & 0o777, 0o600)
  const second = open(state)
  await second.load()
  second.save(new Map([['/two', holding('3')]]))
  await second.close()
  const saved = await open(state).load()
  assert.deepEqual([...saved.keys()].sort(), ['/one', '/two'])
  assert.deepEqual(saved.get('/one')?.files, holding('2').files)
  assert.deepEqual(saved.get('/one')?.gaps, ['a gap'])
  assert.deepEqual(second.problems, [])
})

test('one that is damaged, at any place, is told and not used; the next writing makes it whole', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  const path = join(folder.path, name)
  const whole = open(state)
  await whole.load()
  whole.save(new Map([['/one', holding('1')]]))
  await whole.close()
  const good = readFileSync(path)
  const flipped = Buffer.from(good)
  flipped[good.length - 10]! ^= 1
  const newer = good.toString().replace('outrigger-documents 1', 'outrigger-documents 2')
  for (const bytes of ['', 'x', good.subarray(0, -1), flipped, newer]) {
    writeFileSync(path, bytes)
    const store = open(state)
    assert.equal((await store.load()).size, 0)
    const [problem] = store.problems
    assert.equal(problem?.code, 'last-good-damaged')
    assert.equal(problem.severity, 'warning')
    assert.equal(problem.file, path)
    assert.match(
      problem.message,
      /^the last good documents were not used at the start: (their file is damaged|they were)/,
    )
    store.save(new Map([['/one', holding('2')]]))
    await store.close()
    assert.equal((await open(state).load()).get('/one')?.files['a.yaml']?.[0]?.text, '2')
  }
})

test('a state folder that cannot be written is a problem for as long as it is so', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  let changes = 0
  const store = open(state, () => changes++)
  await store.load()
  const path = state.path
  // A folder of that name is in the way: no permission bit stops the superuser.
  Object.defineProperty(state, 'path', { value: join(path, 'gone'), configurable: true })
  store.save(new Map([['/one', holding('1')]]))
  await store.close()
  assert.equal(store.problems[0]?.code, 'last-good-not-kept')
  assert.equal(changes, 1)
  Object.defineProperty(state, 'path', { value: path })
  store.save(new Map([['/one', holding('1')]]))
  await store.close()
  assert.deepEqual(store.problems, [])
  assert.equal(changes, 2)
})

test('it is bounded: old folders go first, then what is too large', async () => {
  using folder = temporaryFolder()
  using state = StateFolder.open(folder.path)
  const clock = new FakeClock()
  for (let at = 0; at < lastGoodLimits.foldersMax + 3; at++) {
    const store = new LastGoodStore({ state, clock, log: silentLog, onProblem: () => {} })
    await store.load()
    store.save(new Map([[`/${at}`, holding('1')]]))
    await store.close()
    await clock.advance(1_000)
  }
  const saved = await open(state).load()
  assert.equal(saved.size, lastGoodLimits.foldersMax)
  assert.equal(saved.has('/0'), false)
  assert.equal(saved.has(`/${lastGoodLimits.foldersMax + 2}`), true)

  const store = open(state)
  await store.load()
  const text = 'x'.repeat(lastGoodLimits.textMax / 2)
  const files: GoodFolder['files'] = {}
  for (const file of ['a.yaml', 'b.yaml', 'c.yaml']) files[file] = [{ text, readAtMs: 1, keys: [] }]
  store.save(new Map([['/large', { files, gaps: [] }]]))
  await store.close()
  assert.match(store.problems[0]?.message ?? '', /^1 files are not kept for a restart/)
  const kept = await open(state).load()
  assert.deepEqual(Object.keys(kept.get('/large')?.files ?? {}), ['a.yaml', 'b.yaml'])
})
