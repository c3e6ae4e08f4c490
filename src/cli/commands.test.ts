import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }

function outrigger(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(join(import.meta.dirname, 'outrigger'), args, { encoding: 'utf8' })
}

test('--help names every command on one line each, with examples', () => {
  const { status, stdout } = outrigger('--help')
  assert.equal(status, 0)
  for (const command of [
    'up',
    'validate',
    'analyze',
    'describe',
    'explain',
    'inject',
    'install',
    'uninstall',
    'check',
    'status',
    'trace',
    'token',
    'control-plane',
    'proxy',
    'version',
  ]) {
    assert.match(stdout, new RegExp(`^ {2}${command} .{20,}$`, 'm'))
  }
  assert.match(stdout, /\nExamples:\n {2}outrigger up examples\/shop /)
})

for (const command of [
  'up',
  'validate',
  'analyze',
  'describe',
  'inject',
  'install',
  'uninstall',
  'check',
  'check inject',
  'status',
  'trace',
  'token',
  'version',
  'control-plane run',
  'proxy run',
  'proxy config',
]) {
  test(`${command} --help has an example`, () => {
    const { status, stdout } = outrigger(...command.split(' '), '--help')
    assert.equal(status, 0)
    assert.match(stdout, new RegExp(`Examples?:\\n(.*\\n)*  outrigger ${command}`))
  })
}

test('a mistyped command: exit code 2 and what was meant', () => {
  const { status, stdout, stderr } = outrigger('validat')
  assert.deepEqual([status, stdout], [2, ''])
  assert.match(stderr, /unknown command 'validat'[\s\S]*Did you mean validate\?/)
})

for (const args of [
  ['up'],
  ['up', 'x', '--for', 'soon'],
  ['up', 'x', '--rate', '0'],
  ['control-plane', 'run', '-f', 'x', '--stream-port', '99999'],
  ['version', '--bad'],
  ['version', '-o', 'xml'],
]) {
  test(`wrong command line: ${args.join(' ')}`, () => {
    const { status, stdout, stderr } = outrigger(...args)
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, /^error: /)
  })
}

test('version: text, number alone, json', () => {
  assert.match(
    outrigger('version').stdout,
    new RegExp(`^outrigger ${manifest.version} \\(node v\\d+\\.\\d+\\.\\d+, \\w+-\\w+\\)\\n$`),
  )
  assert.equal(outrigger('version', '--short').stdout, `${manifest.version}\n`)
  assert.equal((JSON.parse(outrigger('version', '-o', 'json').stdout) as { version: string }).version, manifest.version)
})
