import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../../test/support/control.ts'
import { listFolder, relistFolder } from './folder.ts'

test('lists YAML and JSON in path order, and nothing hidden', async () => {
  using folder = temporaryFolder()
  mkdirSync(join(folder.path, 'sub'))
  mkdirSync(join(folder.path, '.git'))
  for (const name of ['b.yaml', 'a.yml', 'sub/c.json', '.d.yaml', '.git/e.yaml', 'f.txt'])
    writeFileSync(join(folder.path, name), '')
  const names = (await listFolder(folder.path)).map(({ path }) => path.slice(folder.path.length + 1))
  assert.deepEqual(names, ['a.yml', 'b.yaml', 'sub/c.json'])
  await assert.rejects(listFolder(join(folder.path, 'gone')), { code: 'ENOENT' })
})

test('with the names of what has changed the list is the one that a look at everything gives', async () => {
  using folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, name)
  mkdirSync(at('sub'))
  for (const name of ['a.yaml', 'b.yaml', 'sub/c.yaml']) writeFileSync(at(name), 'x: 1')
  const before = await listFolder(folder.path)
  writeFileSync(at('b.yaml'), 'x: 22')
  writeFileSync(at('aa.yaml'), '')
  rmSync(at('sub/c.yaml'))
  renameSync(at('a.yaml'), at('z.yaml'))
  const touched = new Set(['b.yaml', 'aa.yaml', 'sub/c.yaml', 'a.yaml', 'z.yaml', 'never.yaml'])
  const list = await relistFolder(folder.path, before, touched)
  assert.deepEqual(list, await listFolder(folder.path))
  assert.equal(list!.find(({ path }) => path === at('b.yaml'))!.bytes, 5)
  // What nobody named stays as it was: that is what the look at everything is for.
  writeFileSync(at('b.yaml'), 'x: 333')
  assert.deepEqual(await relistFolder(folder.path, list!, new Set(['aa.yaml'])), list)
})

test('a name that may stand for more than one file asks for a look at everything', async () => {
  using folder = temporaryFolder()
  mkdirSync(join(folder.path, 'folder.yaml'))
  mkdirSync(join(folder.path, 'real'))
  symlinkSync('real', join(folder.path, 'link.yaml'))
  const deep = `${Array.from({ length: 17 }, (_, at) => `d${at}`).join('/')}/x.yaml`
  for (const name of ['sub', '..data', '.x.yaml.swp', 'sub/.hidden/a.yaml', 'x.txt', 'folder.yaml', 'link.yaml', deep])
    assert.equal(await relistFolder(folder.path, [], new Set([name])), undefined, name)
})
