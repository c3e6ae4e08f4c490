import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { FilesSource } from './files.ts'
import type { SourceState } from './source.ts'

const service = (name: string, port = 80) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: ${port}}]}\n`
const invalid = (name: string) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {prots: 1, ports: 80}\n`

/** The system's clock without the poll: what happens then comes from the watch. */
const watchOnly: Clock = { ...systemClock, every: () => ({ cancel: () => undefined }) }

async function folder(t: TestContext, files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'outrigger-files-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
  return path
}

async function started(t: TestContext, folders: string[], clock: Clock): Promise<FilesSource> {
  const source = new FilesSource({ folders, clock })
  t.after(() => source.stop())
  await source.start()
  return source
}

function services({ documents }: SourceState): string[] {
  return documents.map((d) => (d.kind === 'Service' ? `${d.name}:${d.value.spec.ports[0]?.port}` : d.kind)).sort()
}

/** Resolves when the source's documents are these. */
function until(source: FilesSource, wanted: readonly string[]): Promise<void> {
  return untilState(source, (state) => JSON.stringify(services(state)) === JSON.stringify(wanted))
}

function untilState(source: FilesSource, holds: (state: SourceState) => boolean): Promise<void> {
  if (holds(source.current)) return Promise.resolve()
  return new Promise((resolve) => {
    const subscription = source.subscribe((state) => {
      if (!holds(state)) return
      subscription[Symbol.dispose]()
      resolve()
    })
  })
}

test('reads YAML and JSON of all folders below, and nothing else', async (t) => {
  const path = await folder(t, {
    'a.yaml': service('a'),
    'b.yml': service('b'),
    'c.json': '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}, "spec": {"ports": [{"port": 1}]}}',
    'notes.md': 'kind: Service',
    '.hidden.yaml': service('hidden'),
    'a.yaml~': service('backup'),
  })
  await mkdir(join(path, 'deep/er'), { recursive: true })
  await writeFile(join(path, 'deep/er/d.yaml'), service('d'))
  await mkdir(join(path, '..data'))
  await writeFile(join(path, '..data/e.yaml'), service('e'))
  await symlink('..data/e.yaml', join(path, 'e.yaml'))
  const source = await started(t, [path], new FakeClock())
  assert.deepEqual(services(source.current), ['a:80', 'b:80', 'c:1', 'd:80', 'e:80'])
  assert.deepEqual(source.current.problems, [])
  assert.equal(source.synced, true)
})

test('a folder that is not there is told by name, before anything runs', async (t) => {
  const path = await folder(t, { 'a.yaml': service('a') })
  const missing = new FilesSource({ folders: [path, join(path, 'missing')], clock: new FakeClock() })
  await assert.rejects(missing.start(), /missing: the folder cannot be read: it does not exist; name a folder/)
  const file = new FilesSource({ folders: [join(path, 'a.yaml')], clock: new FakeClock() })
  await assert.rejects(file.start(), /a\.yaml: the folder cannot be read: it is not a folder/)
})

test('at the start invalid documents are left out and told, the rest is used', async (t) => {
  const clock = new FakeClock()
  const path = await folder(t, { 'a.yaml': `${invalid('a')}---\n${service('b')}`, 'c.yaml': 'kind: [' })
  const source = await started(t, [path], clock)
  assert.deepEqual(services(source.current), ['b:80'])
  const files = new Set(source.current.problems.map(({ problem }) => problem.file))
  assert.deepEqual([...files].sort(), [join(path, 'a.yaml'), join(path, 'c.yaml')])
  for (const { sinceMs } of source.current.problems) assert.equal(sinceMs, clock.wall())
})

test('a later folder replaces documents of an earlier one, and gives them back', async (t) => {
  const clock = new FakeClock()
  const base = await folder(t, { 'a.yaml': `${service('a')}---\n${service('b')}` })
  const overlay = await folder(t, { 'over.yaml': `${service('a', 81)}---\n${service('c')}` })
  const source = await started(t, [base, overlay], clock)
  assert.deepEqual(services(source.current), ['a:81', 'b:80', 'c:80'])
  assert.deepEqual(source.current.problems, [])
  await writeFile(join(overlay, 'over.yaml'), `${invalid('a')}---\n${service('c')}`)
  const held = untilState(source, (state) => state.problems.length > 0)
  await clock.advance(2_000)
  await held
  assert.deepEqual(services(source.current), ['a:81', 'b:80', 'c:80'], "the overlay's last good, not the base's")
  await rm(join(overlay, 'over.yaml'))
  const back = until(source, ['a:80', 'b:80'])
  const gone = untilState(source, (state) => state.problems.length === 0)
  await clock.advance(2_000)
  await gone
  await clock.advance(250)
  await back
})

test('two files of one folder with the same document: the first holds, the second is a problem', async (t) => {
  const path = await folder(t, { 'a.yaml': service('a', 1), 'b.yaml': service('a', 2) })
  const source = await started(t, [path], new FakeClock())
  assert.deepEqual(services(source.current), ['a:1'])
  const [{ problem } = assert.fail()] = source.current.problems
  assert.equal(problem.code, 'duplicate-document')
  assert.equal(problem.file, join(path, 'b.yaml'))
  assert.match(problem.message, /^Service default\/a is here a second time; the first is at .*a\.yaml:1:1$/)
})

test('the watch sees an edit, a new file in a new folder, a rename and a removal', async (t) => {
  const path = await folder(t, { 'a.yaml': service('a') })
  const source = await started(t, [path], watchOnly)
  await writeFile(join(path, 'a.yaml'), service('a', 81))
  await until(source, ['a:81'])
  await mkdir(join(path, 'sub'))
  await writeFile(join(path, 'sub/b.yaml'), service('b'))
  await until(source, ['a:81', 'b:80'])
  await rename(join(path, 'a.yaml'), join(path, 'z.yaml'))
  await writeFile(join(path, 'c.yaml'), service('c'))
  await until(source, ['a:81', 'b:80', 'c:80'])
  await rm(join(path, 'z.yaml'))
  await until(source, ['b:80', 'c:80'])
})

test('an editor that saves by way of a second file never takes documents out of force', async (t) => {
  const path = await folder(t, { 'a.yaml': service('a', 1), 'b.yaml': service('b') })
  const source = await started(t, [path], watchOnly)
  const seen = new Set<number>()
  source.subscribe((state) => seen.add(state.documents.length))
  for (let port = 2; port < 8; port++) {
    // Vim: the old file away, a new one in its place. Others: a new one over the old.
    if (port % 2 === 0) await rename(join(path, 'a.yaml'), join(path, 'a.yaml~'))
    await writeFile(join(path, '.a.yaml.tmp'), service('a', port))
    await rename(join(path, '.a.yaml.tmp'), join(path, 'a.yaml'))
    await until(source, [`a:${port}`, 'b:80'])
  }
  assert.deepEqual([...seen], [2])
})

test('a file that is being written does not delete what it held', async (t) => {
  const path = await folder(t, { 'a.yaml': `${service('a')}---\n${service('b')}` })
  const source = await started(t, [path], watchOnly)
  const seen: string[][] = []
  source.subscribe((state) => seen.push(services(state)))
  const stream = createWriteStream(join(path, 'a.yaml'))
  await once(stream, 'open')
  await untilState(source, (state) => state.problems.some(({ problem }) => problem.code === 'empty-file'))
  stream.write(service('a', 81))
  await until(source, ['a:81', 'b:80'])
  stream.end(`---\n${service('b', 81)}`)
  await until(source, ['a:81', 'b:81'])
  for (const documents of seen) assert.equal(documents.length, 2)
  assert.deepEqual(source.current.problems, [])
})

test('the poll finds what the watch missed, and a problem keeps the time at which it was first seen', async (t) => {
  const clock = new FakeClock()
  const path = await folder(t, { 'a.yaml': service('a') })
  const source = await started(t, [path], clock)
  await writeFile(join(path, 'a.yaml'), invalid('a'))
  const broken = untilState(source, (state) => state.problems.length > 0)
  await clock.advance(2_000)
  await broken
  const since = source.current.problems[0]!.sinceMs
  assert.deepEqual(services(source.current), ['a:80'])
  await writeFile(join(path, 'b.yaml'), service('b'))
  const more = until(source, ['a:80', 'b:80'])
  await clock.advance(10_000)
  await more
  assert.equal(source.current.problems[0]!.sinceMs, since)
  assert.ok(clock.wall() > since)
})

test('a folder that is gone keeps its documents, until it is back with others', async (t) => {
  const clock = new FakeClock()
  const outer = await folder(t, {})
  const path = join(outer, 'policy')
  await mkdir(path)
  await writeFile(join(path, 'a.yaml'), service('a'))
  const source = await started(t, [path], clock)
  await rename(path, `${path}-away`)
  const told = untilState(source, (state) => state.problems.length > 0)
  await clock.advance(2_000)
  await told
  assert.deepEqual(services(source.current), ['a:80'])
  await mkdir(path)
  await writeFile(join(path, 'a.yaml'), service('a', 90))
  const back = until(source, ['a:90'])
  await clock.advance(2_000)
  await back
  assert.deepEqual(source.current.problems, [])
})

test('a file that is too large is a problem and is not read', async (t) => {
  const path = await folder(t, { 'a.yaml': service('a'), 'b.yaml': `# ${'x'.repeat(4 * 1024 * 1024)}` })
  const source = await started(t, [path], new FakeClock())
  assert.deepEqual(services(source.current), ['a:80'])
  assert.equal(source.current.problems[0]!.problem.code, 'file-too-large')
})

test('a stopped source leaves no timer and hears nothing', async (t) => {
  const clock = new FakeClock()
  const path = await folder(t, { 'a.yaml': service('a') })
  const source = await started(t, [path], clock)
  await source.stop()
  assert.equal(clock.pendingTimers, 0)
  await writeFile(join(path, 'a.yaml'), service('a', 81))
  await clock.advance(10_000)
  assert.deepEqual(services(source.current), ['a:80'])
  assert.equal(clock.pendingTimers, 0)
})
