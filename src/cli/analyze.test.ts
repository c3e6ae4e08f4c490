import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { ApiObject } from '../../control-plane/kubernetes/cluster.ts'
import { CliCluster, pod, runCommand } from '../../test/support/cli-cluster.ts'
import { analyze } from './analyze/analyze.ts'
import { codes } from './analyze/codes.ts'
import type { Message } from './analyze/message.ts'
import { readFiles } from './analyze/read-files.ts'
import type { sarif } from './analyze/sarif.ts'
import { readTemplate } from './inject.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'outrigger-analyze-'))
after(() => rmSync(folder, { recursive: true }))
const template = await readTemplate({ set: [], systemNamespace: 'outrigger-system' })

function find(text: string, suppress: readonly string[] = []): Message[] {
  const subjects = readFiles([{ path: 'in.yaml', text }], 'shop', 'outrigger-system')
  return analyze(subjects, { template, inForce: false }, new Set(suppress))
}

/** `ORGnnnn LINE:COLUMN` of each finding. */
function places(text: string): string[] {
  return find(text).map(({ code, line, column }) => `${code} ${line}:${column}`)
}

const deployment = (pod: string) =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n${pod}`
const enabled =
  '---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {outrigger.dev/inject: enabled}}\n'

describe('codes', () => {
  test('each is there once, by number and by name', () => {
    const ids = Object.values(codes).map(({ id }) => id)
    assert.equal(new Set(ids).size, ids.length)
    assert.ok(ids.every((id) => /^ORG[123]\d{3}$/.test(id)))
  })

  test('every word that a problem can have has one', () => {
    const words = new Set<string>()
    for (const place of ['src/api/documents', 'src/api/policy', 'control-plane/model', 'control-plane/sources'])
      for (const file of readdirSync(join(root, place), { recursive: true, encoding: 'utf8' })) {
        if (!/(?<!\.test)\.ts$/.test(file)) continue
        const text = readFileSync(join(root, place, file), 'utf8')
        for (const [, word] of text.matchAll(/\bcode(?::| =) '([a-z0-9-]+)'/g)) words.add(word!)
      }
    assert.ok(words.size > 25, [...words].join())
    assert.deepEqual(
      [...words].filter((word) => !Object.hasOwn(codes, word) && word !== 'custom'),
      [],
    )
  })

  test('every reason for which a Pod is refused has one', () => {
    const text = ['decision.ts', 'inject-pod.ts']
      .map((file) => readFileSync(join(root, 'control-plane/inject', file), 'utf8'))
      .join('')
    const words = [...text.matchAll(/(?:\brefuse\(\s*|is: 'refuse',\s*code: )'([a-z-]+)'/g)].map(([, word]) => word!)
    assert.ok(words.includes('proxy-user') && words.includes('own-rules'))
    assert.deepEqual(
      words.filter((word) => !Object.hasOwn(codes, word)),
      [],
    )
  })

  test('the table in README.md is the list', () => {
    const text = readFileSync(join(import.meta.dirname, 'analyze/README.md'), 'utf8')
    const rows = text.split('\n').filter((line) => line.startsWith('| `ORG'))
    const wanted = Object.entries(codes).map(
      ([name, { id, severity, meaning }]) => `| \`${id}\` | ${severity} | \`${name}\` | ${meaning} |`,
    )
    assert.deepEqual(rows, wanted)
  })
})

describe('each finding about workloads, with its place', () => {
  for (const [what, text, expected] of [
    ['a Namespace label', enabled.replace('enabled', 'on-please'), ['ORG3002 3:55']],
    [
      'a Pod label',
      deployment('    metadata: {labels: {outrigger.dev/inject: yes}}\n'),
      ['ORG1010 6:47', 'ORG3002 6:47'],
    ],
    [
      'an annotation that nobody reads',
      deployment('    metadata: {annotations: {proxy.outrigger.dev/cpus: 1m}}\n'),
      ['ORG3003 6:56'],
    ],
    [
      'an annotation that cannot be',
      deployment('    metadata: {annotations: {proxy.outrigger.dev/cpu: lots}}\n'),
      ['ORG3004 6:55'],
    ],
    [
      'the label as an annotation',
      deployment('    metadata: {annotations: {outrigger.dev/inject: "true"}}\n'),
      ['ORG3014 6:52'],
    ],
    [
      'the user of the proxy',
      deployment(`    spec: {securityContext: {runAsUser: 1337}}\n${enabled}`),
      ['ORG3005 6:5'],
    ],
    [
      'rules of its own',
      deployment(
        `    spec: {initContainers: [{name: a, securityContext: {capabilities: {add: [NET_ADMIN]}}}]}\n${enabled}`,
      ),
      ['ORG3019 6:5'],
    ],
    [
      'a hook without a certificate',
      deployment(`    spec: {containers: [{name: a, lifecycle: {preStop: {httpGet: {port: 80}}}}]}\n${enabled}`),
      ['ORG3020 6:5'],
    ],
    ['the network of the node', deployment(`    spec: {hostNetwork: true}\n${enabled}`), ['ORG3006 6:25']],
    [
      'the name of the sidecar',
      deployment(`    spec: {containers: [{name: outrigger-proxy}]}\n${enabled}`),
      ['ORG3007 6:5'],
    ],
    [
      'a port of the sidecar',
      deployment(`    spec: {containers: [{name: a, ports: [{containerPort: 15006}]}]}\n${enabled}`),
      ['ORG3009 6:59'],
    ],
    [
      'Pod Security',
      deployment(
        `    spec: {containers: [{name: a}]}\n${enabled.replace('enabled', 'enabled, pod-security.kubernetes.io/enforce: baseline')}`,
      ),
      ['ORG3012 6:5'],
    ],
    ['a namespace that is never meshed', enabled.replace('shop', 'kube-system'), ['ORG3015 3:62']],
    [
      'a code that is none',
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {outrigger.dev/suppress: ORG9999}}\n',
      ['ORG3016 3:59'],
    ],
  ] as const) {
    test(what, () => assert.deepEqual(places(text.replace(/^---\n/, '')), expected))
  }

  const service = (name: string, port: string) =>
    `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {selector: {app: web}, ports: [${port}]}\n`
  const web =
    '---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\nspec: {containers: [{name: a}]}\n'

  test('a port without a protocol is a note, and can be left out by annotation or by flag', () => {
    const text = service('web', '{port: 80}').slice(4)
    assert.deepEqual(places(text), ['ORG3008 4:38'])
    assert.deepEqual(find(text)[0]?.severity, 'info')
    assert.deepEqual(
      places(
        text.replace('namespace: shop', 'namespace: shop, annotations: {outrigger.dev/suppress: "ORG2001, ORG3008"}'),
      ),
      [],
    )
    assert.deepEqual(find(text, ['ORG3008']), [])
    assert.deepEqual(places(text.replace('{port: 80}', '{port: 80, name: http}')), [])
  })

  test('two Services that disagree about a port', () => {
    const text = web + service('a', '{port: 80, name: http}') + service('b', '{port: 81, targetPort: 80, name: tcp}')
    assert.deepEqual(places(text), ['ORG3011 15:38'])
    assert.deepEqual(places(text.replace('name: tcp', 'name: http-b')), [])
  })

  test('a policy for Pods without a sidecar; the Pods of a Deployment count', () => {
    const policy =
      '---\napiVersion: outrigger.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}\n'
    assert.deepEqual(places(web + policy), ['ORG3010 10:8'])
    assert.deepEqual(places(web + policy + enabled), [])
    const template = deployment('    metadata: {labels: {app: web}}\n    spec: {containers: [{name: a}]}\n')
    assert.deepEqual(places(template + policy + enabled), [])
    assert.deepEqual(places(template.replace('app: web', 'app: other') + policy + enabled), ['ORG2010 12:19'])
  })
})

test('what others read is passed over; a kind of ours that does not exist is not', () => {
  assert.deepEqual(places('apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a}\n'), [])
  assert.deepEqual(places('apiVersion: outrigger.dev/v1alpha1\nkind: FaultInjektion\nmetadata: {name: a}\n'), [
    'ORG1012 2:7',
  ])
})

test('a reference to a document with an error of its own is not called dangling', () => {
  const broken = 'apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 0}]}\n---\n'
  const policy =
    'apiVersion: outrigger.dev/v1alpha1\nkind: BackendPolicy\nmetadata: {name: p}\nspec: {targetRefs: [{kind: Service, name: web, group: ""}]}\n'
  const found = find((broken + policy).replaceAll('metadata: {', 'metadata: {namespace: shop, ')).map(
    ({ code }) => code,
  )
  assert.ok(found.includes('ORG1019') && !found.includes('ORG2001'), found.join())
})

test('text, json and sarif; exit codes by --fail-on', async () => {
  const path = join(folder, 'deploy')
  mkdirSync(path)
  writeFileSync(join(path, 'a b.yaml'), deployment('    metadata: {annotations: {proxy.outrigger.dev/cpus: 1m}}\n'))
  const text = await runCommand(['analyze', '-f', path])
  assert.equal(text.status, 0)
  assert.match(
    text.stdout,
    /^warning ORG3003 Deployment shop\/web \(.*a b\.yaml:6:56\): .*did you mean proxy\.outrigger\.dev\/cpu\?\n$/,
  )
  assert.equal(text.stderr, '0 errors, 1 warnings, 0 notes\n')
  const json = await runCommand(['analyze', '-f', path, '-o', 'json', '--fail-on', 'warning'])
  assert.equal(json.status, 1)
  assert.deepEqual((JSON.parse(json.stdout) as { warnings: number }).warnings, 1)
  const log = await runCommand(['analyze', '-f', path, '-o', 'sarif', '--fail-on', 'never'])
  assert.equal(log.status, 0)
  const [run] = (JSON.parse(log.stdout) as ReturnType<typeof sarif> as { runs: SarifRun[] }).runs
  const [result] = run!.results
  assert.equal(run!.tool.driver.rules[result!.ruleIndex]?.id, 'ORG3003')
  assert.deepEqual(result!.locations[0]?.physicalLocation.region, { startLine: 6, startColumn: 56 })
  assert.match(result!.locations[0]?.physicalLocation.artifactLocation.uri ?? '', /^file:\/\/\/.*a%20b\.yaml$/)
})

interface SarifRun {
  readonly tool: { readonly driver: { readonly rules: readonly { readonly id: string }[] } }
  readonly results: readonly {
    readonly ruleIndex: number
    readonly locations: readonly {
      readonly physicalLocation: { readonly region: unknown; readonly artifactLocation: { readonly uri: string } }
    }[]
  }[]
}

test('wrong command lines: exit code 2', async () => {
  for (const [args, expected] of [
    [['-f', join(folder, 'none')], /cannot read .*none: no such file or folder/],
    [['-f', folder, '--suppress', 'ORG1'], /there is no code ORG1/],
    [['-o', 'xml'], /argument 'xml' is invalid/],
  ] as const) {
    const { status, stderr } = await runCommand(['analyze', ...args])
    assert.equal(status, 2)
    assert.match(stderr, expected)
  }
})

test('a cluster: Pods without their sidecar, documents with errors; -n leaves the others out', async () => {
  const namespace = (name: string): ApiObject => ({
    kind: 'Namespace',
    metadata: { name, labels: { 'outrigger.dev/inject': 'enabled' } },
  })
  await using cluster = await CliCluster.start(
    namespace('shop'),
    namespace('bank'),
    pod('shop', 'old-1'),
    pod('shop', 'outdated', { metadata: { annotations: { 'outrigger.dev/status': '{"hash":"0123456789ab"}' } } }),
    {
      kind: 'ConfigMap',
      metadata: { namespace: 'outrigger-system', name: 'outrigger-config' },
      data: { 'config.yaml': 'injector: {image: outrigger}' },
    },
    pod('bank', 'old-2', { metadata: { annotations: { 'outrigger.dev/suppress': 'ORG3001' } } }),
    {
      kind: 'FaultInjection',
      metadata: { namespace: 'shop', name: 'bad' },
      spec: { targetRefs: [{ group: '', kind: 'Service', name: 'gone' }], abort: { httpStatus: 999 } },
    },
    {
      kind: 'FaultInjection',
      metadata: { namespace: 'bank', name: 'dangling' },
      spec: { targetRefs: [{ group: '', kind: 'Service', name: 'gone' }], abort: { httpStatus: 503 } },
    },
  )
  const all = await cluster.run('analyze')
  assert.equal(all.status, 1)
  assert.match(all.stderr, /^reading context fake/)
  assert.match(all.stdout, /^warning ORG3001 Pod shop\/old-1: it has no sidecar, although/m)
  assert.match(all.stdout, /^warning ORG3013 Pod shop\/outdated: its sidecar was injected with other settings/m)
  assert.match(all.stdout, /^error ORG1019 FaultInjection shop\/bad: spec\.abort\.httpStatus: /m)
  assert.match(all.stdout, /^error ORG2001 FaultInjection bank\/dangling: /m)
  assert.doesNotMatch(all.stdout, /old-2/)
  const one = await cluster.run('analyze', '-n', 'bank')
  assert.deepEqual(one.stdout.split('\n').length, 2)
})

test('--list-codes', async () => {
  const { status, stdout } = await runCommand(['analyze', '--list-codes'])
  assert.equal(status, 0)
  assert.match(stdout, /^ORG3005 +error +proxy-user +a container that runs as/m)
})
