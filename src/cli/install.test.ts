import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { CliCluster, type Ran, runCommand } from '../../test/support/cli-cluster.ts'

const folder = mkdtempSync(join(tmpdir(), 'outrigger-install-'))
after(() => rmSync(folder, { recursive: true }))

/** A helm that writes down how it was called, and fails when told to. */
const helm = join(folder, 'helm')
const calls = join(folder, 'calls')
writeFileSync(
  helm,
  `#!/bin/sh\necho "$*" >> ${calls}\necho "helm says $1"\nif [ "$FAIL" = "$1" ]; then echo 'helm: it went wrong' >&2; exit 3; fi\n`,
)
chmodSync(helm, 0o755)

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran & { calls: string[] }> {
  writeFileSync(calls, '')
  const ran = await runCommand([...args, '--helm', helm], env)
  const lines = readFileSync(calls, 'utf8').split('\n').slice(0, -1)
  // Where this package lies is not what is asked.
  return { ...ran, calls: lines.map((line) => line.replaceAll(/\S*\/charts\//g, 'charts/')) }
}

test('install: kinds first, then the chart, waiting; progress on stderr', async () => {
  const {
    status,
    stdout,
    stderr,
    calls: made,
  } = await run([
    'install',
    '--context',
    'x',
    '-f',
    'a.yaml',
    '-f',
    'b.yaml',
    '--set',
    'replicas=3',
    '--set-string',
    'image.tag=1',
  ])
  assert.deepEqual([status, stdout], [0, ''])
  assert.deepEqual(made, [
    'upgrade --install outrigger-crds charts/outrigger-crds --kube-context x --namespace outrigger-system --create-namespace --wait --timeout 5m',
    'upgrade --install outrigger charts/outrigger --kube-context x --namespace outrigger-system --create-namespace --wait --timeout 5m ' +
      '--reset-then-reuse-values --values a.yaml --values b.yaml --set replicas=3 --set-string image.tag=1',
  ])
  assert.match(
    stderr,
    /installing: kinds \(CRDs\)[\s\S]*helm says upgrade[\s\S]*installing: control plane in namespace outrigger-system[\s\S]*outrigger check\n/,
  )
})

test('install --no-crds --reset-values, in another namespace', async () => {
  const { stderr, calls: made } = await run(['install', '--no-crds', '--reset-values', '-n', 'mesh', '--timeout', '1m'])
  assert.deepEqual(made, [
    'upgrade --install outrigger charts/outrigger --namespace mesh --create-namespace --wait --timeout 1m --reset-values',
  ])
  assert.match(stderr, /outrigger check --system-namespace mesh/)
})

test('install --dry-run prints manifests on stdout and asks no cluster', async () => {
  const { status, stdout, stderr, calls: made } = await run(['install', '--dry-run', '--set', 'a=b'])
  assert.equal(status, 0)
  assert.deepEqual(made, [
    'template outrigger-crds charts/outrigger-crds --include-crds --namespace outrigger-system',
    'template outrigger charts/outrigger --include-crds --namespace outrigger-system --set a=b',
  ])
  assert.match(
    stdout,
    /^---\napiVersion: v1\nkind: Namespace\nmetadata:\n {2}name: outrigger-system\nhelm says template\nhelm says template\n$/,
  )
  assert.equal(stderr, '')
})

test('helm that fails ends the command: the chart is not tried after its kinds', async () => {
  const { status, stderr, calls: made } = await run(['install'], { FAIL: 'upgrade' })
  assert.deepEqual([status, made.length], [1, 1])
  assert.match(stderr, /helm: it went wrong\noutrigger: helm upgrade failed \(exit 3\): see above/)
})

test('no helm: how to get one', async () => {
  const { status, stderr } = await runCommand(['install', '--helm', join(folder, 'none')])
  assert.equal(status, 1)
  assert.match(
    stderr,
    /none is not here: install Helm 3\.14 or newer \(a single program\), or name it with --helm PATH/,
  )
})

test('uninstall says what stays', async () => {
  const { status, stderr, calls: made } = await run(['uninstall'])
  assert.equal(status, 0)
  assert.deepEqual(made, ['uninstall outrigger --namespace outrigger-system --wait --timeout 5m --ignore-not-found'])
  assert.match(stderr, /stays in the cluster:\n {2}the kinds of outrigger\.dev and all policies/)
})

test('uninstall --crds counts what would be lost, and wants to be told twice', async () => {
  await using cluster = await CliCluster.start(
    { kind: 'FaultInjection', metadata: { namespace: 'shop', name: 'a' } },
    { kind: 'FaultInjection', metadata: { namespace: 'bank', name: 'a' } },
    { kind: 'CustomResourceDefinition', metadata: { name: 'faultinjections.outrigger.dev' } },
    { kind: 'CustomResourceDefinition', metadata: { name: 'certificates.cert-manager.io' } },
  )
  const kubeconfig = { KUBECONFIG: cluster.kubeconfig }
  const once = await run(['uninstall', '--crds'], kubeconfig)
  assert.deepEqual([once.status, once.calls], [2, []])
  assert.match(once.stderr, /--crds would delete 2 policies \(2 faultinjections\): add --delete-all-policies/)
  const twice = await run(['uninstall', '--crds', '--delete-all-policies'], kubeconfig)
  assert.equal(twice.status, 0, twice.stderr)
  assert.deepEqual(
    twice.calls.map((call) => call.split(' ')[1]),
    ['outrigger', 'outrigger-crds'],
  )
  assert.deepEqual(
    cluster.api.all('CustomResourceDefinition').map(({ metadata }) => metadata?.name),
    ['certificates.cert-manager.io'],
  )
  const alone = await run(['uninstall', '--delete-all-policies'], kubeconfig)
  assert.equal(alone.status, 2)
})
