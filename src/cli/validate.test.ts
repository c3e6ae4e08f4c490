import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { formatProblem } from '../api/documents/format-problem.ts'
import { validate } from './validate.ts'

const command = fileURLToPath(new URL('./outrigger', import.meta.url))
const shop = fileURLToPath(new URL('../../examples/shop', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'outrigger-validate-'))
after(() => rmSync(folder, { recursive: true }))

const service = 'apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {ports: [{port: 80}]}\n'
const route = (backend: string) =>
  'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web, namespace: shop}\nspec:\n' +
  '  parentRefs: [{group: "", kind: Service, name: web}]\n' +
  `  rules:\n  - backendRefs: [{name: ${backend}, port: 80}]\n`

function write(name: string, text: string): string {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text)
  return path
}

async function linesOf(...paths: string[]): Promise<string[]> {
  const { problems } = await validate(paths, (message) => {
    throw new Error(message)
  })
  return problems.map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''))
}

function run(args: string[], input = '') {
  const { status, stdout, stderr } = spawnSync(command, ['validate', ...args], { encoding: 'utf8', input })
  return { status, stdout: stdout.replaceAll(`${folder}/`, ''), stderr }
}

test('a reference to nothing is found over files, with its place and what was meant', async () => {
  write('dangling/a.yaml', service)
  write('dangling/sub/b.yaml', route('wbe'))
  assert.deepEqual(await linesOf(join(folder, 'dangling')), [
    'dangling/sub/b.yaml:7:26: error: spec.rules[0].backendRefs[0].name: Service shop/wbe does not exist; did you mean web?',
  ])
})

test('a reference to a document that has an error of its own is not called dangling as well', async () => {
  write('follow/a.yaml', service.replace('port: 80', 'port: 0'))
  write('follow/b.yaml', route('web'))
  assert.deepEqual(await linesOf(join(folder, 'follow')), [
    'follow/a.yaml:4:23: error: spec.ports[0].port: 0 is too small; expected a whole number from 1 to 65535',
  ])
  write('follow/b.yaml', route('other'))
  const lines = await linesOf(join(folder, 'follow'))
  assert.equal(lines.length, 2, 'what cannot follow from the first is still told')
  assert.match(lines[1]!, /^follow\/b\.yaml:7:26: error: .*Service shop\/other does not exist/)
  write('follow/a.yaml', '{')
  assert.deepEqual(await linesOf(join(folder, 'follow')), [
    'follow/a.yaml:1:2: error: a closing } is missing: half-written?',
  ])
})

test('a later path replaces documents of an earlier one; within one path a second one is an error', async () => {
  const first = write('replace/a/a.yaml', service + '---\n' + route('web'))
  const second = write('replace/b/b.yaml', route('gone'))
  assert.deepEqual(
    (await linesOf(first, second)).map((line) => line.split(':')[0]),
    ['replace/b/b.yaml'],
  )
  assert.match(
    (await linesOf(join(folder, 'replace')))[0]!,
    /^replace\/b\/b\.yaml:3:18: error: metadata\.name: HTTPRoute shop\/web is here a second time; the first is at .*a\.yaml:8:18$/,
  )
})

test('the example of the README is in order', () => {
  const { status, stdout, stderr } = run(['-f', shop])
  assert.deepEqual([status, stdout], [0, ''])
  assert.match(stderr, /^\d+ documents in \d+ files: 0 errors, 0 warnings\n$/)
})

test('errors: problems on stdout, the count on stderr, exit code 1', () => {
  const path = write('exit.yaml', `${service}---\n- 1\n`)
  const { status, stdout, stderr } = run(['-f', path])
  assert.equal(status, 1)
  assert.equal(stdout, 'exit.yaml:6:1: error: the document is not a map; expected apiVersion, kind, metadata, spec\n')
  assert.equal(stderr, '1 document in order in 1 file: 1 error, 0 warnings\n')
})

test('warnings alone are exit code 0; - reads standard input; json is one object', () => {
  const { status, stdout } = run(['-f', '-', '-o', 'json'], service.replace('spec: {', 'spec: {prots: [], '))
  assert.equal(status, 0)
  const report = JSON.parse(stdout) as { files: number; documents: number; errors: number; problems: object[] }
  assert.deepEqual(report, {
    files: 1,
    documents: 1,
    errors: 0,
    problems: [
      {
        severity: 'warning',
        code: 'unknown-field',
        message: 'unknown field "prots"',
        suggestion: 'ports',
        file: 'stdin',
        line: 4,
        column: 8,
        path: 'spec.prots',
      },
    ],
  })
})

test('what is wrong with the command line is exit code 2', () => {
  for (const [args, message] of [
    [[], /^error: required option '-f, --file <path\.\.\.>' not specified/],
    [['-f', join(folder, 'none')], /^error: cannot read .*none: no such file or folder/],
    [['-f', shop, '-o', 'xml'], /^error: option '-o, --output <format>' argument 'xml' is invalid/],
  ] as const) {
    const { status, stdout, stderr } = run([...args])
    assert.deepEqual([status, stdout], [2, ''])
    assert.match(stderr, message)
  }
})
