/** Layers, tar files and image archives, read back with the tools that others read them with. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { writeImage } from './archive.ts'
import { Layer } from './layer.ts'
import { isNeeded, productionPackages } from './packages.ts'
import { writeTar } from './tar.ts'

const work = mkdtempSync(path.join(tmpdir(), 'outrigger-image-test-'))
after(() => rmSync(work, { recursive: true }))

function file(name: string, text = name, mode = 0o600): string {
  const at = path.join(work, name)
  mkdirSync(path.dirname(at), { recursive: true })
  writeFileSync(at, text, { mode })
  return at
}

function tar(...args: string[]): string {
  return execFileSync('tar', args, { encoding: 'utf8', env: { ...process.env, TZ: 'UTC' } })
}

describe('a layer', () => {
  it('is read by tar as it was meant: owners, modes, links, long names, parents', () => {
    const long = `${'folder-of-forty-characters-in-its-name-ab/'.repeat(4)}file`
    const layer = new Layer()
      .folder('/tmp', 0o1777)
      .add(file('secret', 'not for others'), '/etc/secret')
      .add(file('tool', '#!/bin/sh\n', 0o700), '/usr/bin/tool')
      .text(`/${long}`, 'deep')
      .link('/usr/bin/alias', 'tool')
    const archive = path.join(work, 'layer.tar')
    const { bytes, sha256 } = writeTar(archive, layer.entries)
    const content = readFileSync(archive)
    assert.equal(content.length, bytes)
    assert.equal(createHash('sha256').update(content).digest('hex'), sha256)
    const listed = tar('--numeric-owner', '-tvf', archive).trim().split('\n')
    for (const line of listed) assert.match(line, /^\S+ 0\/0 +\d+ 1970-01-01 00:00 /)
    const has = (wanted: RegExp): void =>
      assert.ok(
        listed.some((line) => wanted.test(line)),
        `${wanted}\n${listed.join('\n')}`,
      )
    has(/^drwxrwxrwt .* tmp\/$/)
    // Whatever user runs the container can read it.
    has(/^-rw-r--r-- .* etc\/secret$/)
    has(/^-rwxr-xr-x .* usr\/bin\/tool$/)
    has(/^lrwxrwxrwx .* usr\/bin\/alias -> tool$/)
    has(/^drwxr-xr-x .* usr\/$/)
    assert.equal(tar('-xOf', archive, long), 'deep')
    assert.equal(tar('-xOf', archive, 'etc/secret'), 'not for others')
  })

  it('keeps what is asked for, and links inside of a folder as links', () => {
    file('package/index.js')
    file('package/index.js.map')
    file('package/test/index.js')
    file('package/lib/test/needed.js')
    file('package/node_modules/other/index.js')
    file('package/LICENSE.md')
    symlinkSync('index.js', path.join(work, 'package/link.js'))
    const { entries } = new Layer().add(path.join(work, 'package'), '/p', isNeeded)
    assert.deepEqual(
      entries.filter(({ kind }) => kind !== 'directory').map(({ kind, path }) => `${kind} ${path}`),
      ['file p/LICENSE.md', 'file p/index.js', 'file p/lib/test/needed.js', 'link p/link.js'],
    )
  })

  it('refuses a name that tar has no room for', () => {
    const entries = new Layer().text(`/${'x'.repeat(101)}`, '').entries
    assert.throws(() => writeTar(path.join(work, 'never.tar'), entries), /too long for a tar file$/)
  })

  it('has the libraries of a program', () => {
    const layer = new Layer().add('/bin/sh', '/bin/sh').libraries('/bin/sh')
    assert.ok(layer.entries.some(({ path }) => /\/libc\.so/.test(path)))
    assert.throws(() => new Layer().libraries('/no/such/program'))
  })
})

describe('an image', () => {
  const image = () => ({
    name: 'localhost/it:1',
    layers: [new Layer().text('/a', 'a'), new Layer().text('/b', 'b')],
    entrypoint: ['/a'],
    user: '1337:1337',
  })

  it('names its layers by what is in them, lowest first', () => {
    const archive = path.join(work, 'image.tar')
    assert.ok(writeImage(archive, image()) > 0)
    const [manifest] = JSON.parse(tar('-xOf', archive, 'manifest.json'))
    assert.deepEqual(manifest.RepoTags, ['localhost/it:1'])
    const config = JSON.parse(tar('-xOf', archive, manifest.Config))
    assert.equal(config.config.User, '1337:1337')
    assert.deepEqual(config.config.Entrypoint, ['/a'])
    const layers = (manifest.Layers as string[]).map((layer) => {
      const content = execFileSync('tar', ['-xOf', archive, layer])
      const inner = file('inner.tar', '')
      writeFileSync(inner, content)
      return [`sha256:${createHash('sha256').update(content).digest('hex')}`, tar('-tf', inner).trim()]
    })
    assert.deepEqual(layers, [
      [config.rootfs.diff_ids[0], 'a'],
      [config.rootfs.diff_ids[1], 'b'],
    ])
  })

  it('is the same, byte for byte, from the same files', () => {
    const [one, two] = [path.join(work, 'one.tar'), path.join(work, 'two.tar')]
    writeImage(one, image())
    writeImage(two, image())
    assert.ok(readFileSync(one).equals(readFileSync(two)))
  })
})

describe('the packages of production', () => {
  const root = path.join(work, 'project')
  const lock = (packages: object): void => {
    file('project/package-lock.json', JSON.stringify({ packages }))
  }
  for (const name of ['a', 'a/node_modules/b', 'b', 'native', 'elsewhere'])
    file(`project/node_modules/${name}/package.json`, '{}')

  it('are the closure of dependencies: nearest first, of the optional ones the native that is installed', () => {
    lock({
      '': { dependencies: { a: '1' }, devDependencies: { dev: '1' }, optionalDependencies: { runtime: '1' } },
      'node_modules/a': {
        dependencies: { b: '2', native: '1' },
        optionalDependencies: { native: '1', elsewhere: '1', absent: '1' },
      },
      'node_modules/a/node_modules/b': {},
      'node_modules/b': {},
      'node_modules/dev': { dependencies: { b: '1' } },
      'node_modules/native': { os: ['linux'] },
      'node_modules/elsewhere': {},
      'node_modules/absent': { os: ['darwin'] },
      'node_modules/runtime': {},
    })
    assert.deepEqual(productionPackages(root), [
      'node_modules/a',
      'node_modules/a/node_modules/b',
      'node_modules/native',
    ])
  })

  it('that are not installed are an error that says what to do', () => {
    lock({ '': { dependencies: { gone: '1' } }, 'node_modules/gone': {} })
    assert.throws(
      () => productionPackages(root),
      /^Error: gone, which package\.json needs, is not installed: run npm ci$/,
    )
  })
})
