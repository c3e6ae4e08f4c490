import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { injectPod } from '../../control-plane/inject/inject-pod.ts'
import type { Pod } from '../../control-plane/inject/pod.ts'
import { injectFiles, readTemplate } from './inject.ts'
import { yamlReading } from './manifests/edit-yaml.ts'
import { podTemplates } from './manifests/pod-templates.ts'

const command = join(import.meta.dirname, 'outrigger')
const testdata = join(import.meta.dirname, 'testdata/inject')
const folder = mkdtempSync(join(tmpdir(), 'outrigger-inject-'))
after(() => rmSync(folder, { recursive: true }))

const template = await readTemplate({
  set: [{ path: ['injector', 'image'], value: 'outrigger:test' }],
  systemNamespace: 'outrigger-system',
})

async function inject(text: string, path = 'in.yaml') {
  return injectFiles([{ path, text }], 'default', template)
}

function run(args: readonly string[], input = '') {
  return spawnSync(command, ['inject', ...args], { encoding: 'utf8', input })
}

function valuesOf(text: string): unknown[] {
  const parsed = parseAllDocuments(text, yamlReading)
  return Array.isArray(parsed) ? parsed.map((document) => document.toJS() as unknown) : []
}

const deployment = (pod: string) =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  template:\n${pod}`

describe('golden outputs (UPDATE_GOLDEN=1 writes them)', () => {
  for (const name of readdirSync(join(testdata, 'in'))) {
    test(name, async () => {
      const input = readFileSync(join(testdata, 'in', name), 'utf8')
      const { text: injected, notes } = await inject(input, name)
      // It changes with everything that a template holds, and says nothing here.
      const text = injected.replaceAll(/"hash":"[0-9a-f]{12}"/g, '"hash":"HASH"')
      const told = notes.map((note) => `# ${note.text}\n`).join('')
      const path = join(testdata, 'out', name.replace('.json', '.yaml'))
      if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(path, told + text)
      assert.equal(told + text, readFileSync(path, 'utf8'))
    })

    test(`${name}: says what the webhook makes of each Pod, and is left alone the second time`, async () => {
      const input = readFileSync(join(testdata, 'in', name), 'utf8')
      const { text } = await inject(input, name)
      const before = valuesOf(input).flatMap((value) => podTemplates(value, 'default'))
      const injected = valuesOf(text).flatMap((value) => podTemplates(value, 'default'))
      assert.equal(injected.length, before.length)
      for (const [at, { namespace, pod }] of before.entries()) {
        const label = namespace === 'quiet' ? 'disabled' : 'enabled'
        const context = { namespace, namespaceLabels: { 'outrigger.dev/inject': label } }
        const result = injectPod(pod, context, template)
        const wanted = JSON.parse(JSON.stringify(result.is === 'injected' ? result.pod : pod)) as Pod
        const { labels, ...metadata } = wanted.metadata ?? {}
        // No labels and an empty map of them are the same to Kubernetes.
        const hasLabels = Object.keys(labels ?? {}).length > 0
        const expected = result.is === 'injected' && !hasLabels ? { ...wanted, metadata } : wanted
        assert.deepEqual(injected[at]?.pod, expected)
      }
      const again = await inject(text, name)
      assert.equal(again.text, text)
      assert.equal(again.injected, 0)
    })
  }
})

test('lines that do not differ are the same bytes', async () => {
  const input = readFileSync(join(testdata, 'in/layout.yaml'), 'utf8')
  const { text } = await inject(input)
  const left = text.split('\n')
  const lost = input.split('\n').filter((line) => {
    const at = left.indexOf(line)
    if (at !== -1) left.splice(at, 1)
    return at === -1
  })
  assert.deepEqual(lost, ['          httpGet: {path: /, port: 8080}'])
})

test('a text without Pods passes as it is, whatever its layout', async () => {
  const text = '# x\r\nkind: ConfigMap\r\ndata:   {a:   1}\r\n\n\n---\n---\n# nothing\n'
  assert.deepEqual(await inject(text), { text, notes: [], injected: 0 })
})

test('several files become one stream', async () => {
  const files = [
    { path: 'a.yaml', text: 'kind: A' },
    { path: 'b.yaml', text: '---\nkind: B\n' },
    { path: 'c.yaml', text: 'kind: C\n' },
  ]
  const { text } = await injectFiles(files, 'default', template)
  assert.equal(text, 'kind: A\n---\nkind: B\n---\nkind: C\n')
})

test('refused: place and reason on stderr, nothing on stdout, exit code 1', () => {
  const path = join(folder, 'refused.yaml')
  writeFileSync(
    path,
    `kind: Service\n---\n${deployment('    spec:\n      securityContext: {runAsUser: 1337}\n      containers: [{name: a}]\n')}`,
  )
  const { status, stdout, stderr } = run(['-f', path])
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(
    stderr,
    /refused\.yaml:9:3: Deployment shop\/web: error: refused: the Pod runs as user or group 1337, .*choose another runAsUser\nnothing is written\n/,
  )
})

for (const [what, pod, expected] of [
  ['an annotation', 'proxy.outrigger.dev/cpu: lots', /annotation proxy\.outrigger\.dev\/cpu: "lots" is none of/],
  ['a port list', 'traffic.outrigger.dev/excludeInboundPorts: "99999"', /excludeInboundPorts: "99999" is none of/],
] as const) {
  test(`refused: ${what} that cannot be`, async () => {
    const text = deployment(`    metadata: {annotations: {${pod}}}\n    spec: {containers: [{name: a}]}\n`)
    const { notes, injected } = await inject(text)
    assert.equal(injected, 0)
    assert.equal(notes[0]?.is, 'refused')
    assert.match(notes[0]?.text ?? '', expected)
  })
}

test('skipped: the reason on stderr, the text as it was', async () => {
  const text = deployment(
    '    metadata: {labels: {outrigger.dev/inject: "false"}}\n    spec: {containers: [{name: a}]}\n',
  )
  const result = await inject(text)
  assert.equal(result.text, text)
  assert.deepEqual(result.notes, [
    {
      is: 'skipped',
      text: 'in.yaml:7:3: Deployment shop/web: not injected: its label outrigger.dev/inject is "false"',
    },
  ])
})

test('an unknown annotation is a warning with what was meant', async () => {
  const text = deployment(
    '    metadata: {annotations: {proxy.outrigger.dev/loglevel: debug}}\n    spec: {containers: [{name: a}]}\n',
  )
  const { notes, injected } = await inject(text)
  assert.equal(injected, 1)
  assert.match(notes[0]?.text ?? '', /warning: annotation .*loglevel is not known; did you mean .*logLevel\?/)
})

test('YAML that is none: place, exit code 1, nothing written', () => {
  const { status, stdout, stderr } = run(['-f', '-'], 'kind: Pod\nspec: {\n')
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(stderr, /^stdin:\d+:\d+: error: /)
})

test('as a filter, with settings', () => {
  const { status, stdout, stderr } = run(
    ['-f', '-', '--set', 'injector.image=mesh:2', '--set', 'injector.resources.limits.memory=512Mi'],
    'kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a}]}\n',
  )
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /image: mesh:2\n[\s\S]*--max-old-space-size=256/)
})

test('--config is the file of the ConfigMap; what is wrong in it has its place', () => {
  const path = join(folder, 'mesh.yaml')
  writeFileSync(path, 'injector:\n  image: mesh:3\n  logLevel: loud\n')
  const { status, stdout, stderr } = run(['-f', '-', '--config', path], 'kind: Pod\n')
  assert.deepEqual([status, stdout], [1, ''])
  assert.match(stderr, /mesh\.yaml:3:13: injector\.logLevel: /)
})

for (const [args, expected] of [
  [['-f', join(folder, 'none.yaml')], /cannot read .*none\.yaml: no such file or folder/],
  [['-f', '-', '--set', 'nothing'], /Expected PATH=VALUE/],
  [[], /required option '-f, --file/],
] as const) {
  test(`wrong command line: inject ${args.join(' ').replaceAll(folder, '')}`, () => {
    const { status, stderr } = run(args)
    assert.equal(status, 2)
    assert.match(stderr, expected)
  })
}

test('--set of a setting that is not known is refused', () => {
  const { status, stderr } = run(['-f', '-', '--set', 'injector.colour=red'], 'kind: Pod\n')
  assert.equal(status, 1)
  assert.match(stderr, /colour/)
})
