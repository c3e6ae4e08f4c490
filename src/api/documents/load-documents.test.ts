import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatProblem } from './format-problem.ts'
import { loadDocuments, problemsPerFileMax } from './load-documents.ts'
import { fileBytesMax } from './read-text.ts'

const service = 'apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {}\n'
const policy =
  'apiVersion: outrigger.dev/v1alpha1\nkind: BackendPolicy\nmetadata: {name: web}\nspec:\n' +
  '  targetRefs: [{kind: Service, name: web}]\n'
const allKinds =
  'one of HTTPRoute, GRPCRoute, BackendPolicy, FaultInjection, PeerAuthentication, AuthorizationPolicy, TelemetryPolicy, ' +
  'Service, EndpointSlice, Pod, Namespace, ServiceAccount'
const notMap = 'error: the document is not a map; expected apiVersion, kind, metadata, spec'

function linesOf(text: string): string[] {
  return loadDocuments([{ path: 'x.yaml', text }]).problems.map((problem) => formatProblem(problem))
}

const badTexts: Record<string, [text: string, ...lines: string[]]> = {
  'cut off in a key': [`${policy}  retry`, 'x.yaml:6:3: error: "retry" has no ":": half-written?; expected key: value'],
  'cut off in braces': [`${policy}  retry: {attempts: 2`, 'x.yaml:6:22: error: a closing } is missing: half-written?'],
  'cut off in quotes': [
    `${policy}  retry: {perTryTimeout: "2`,
    'x.yaml:6:28: error: a quote is never closed: half-written?',
  ],
  'cut off before the spec': [
    'apiVersion: outrigger.dev/v1alpha1\nkind: BackendPolicy\nmetadata:\n  name: web\nspec:\n',
    'x.yaml:5:1: error: spec: no value; expected a map',
  ],
  'cut off after the name': [
    'apiVersion: outrigger.dev/v1alpha1\nkind: BackendPolicy\nmetadata:\n  name: web\n',
    'x.yaml:1:1: error: missing field "spec"; expected a map',
  ],
  empty: [
    '  \n\n',
    'x.yaml:1:1: error: the file is empty: half-written?; expected documents, or a comment if it is meant to hold none',
  ],
  'NUL byte': ['a: \0', 'x.yaml:1:1: error: the file is binary (NUL byte at offset 3); expected UTF-8 text'],
  'tab as indentation': [
    'apiVersion: v1\nkind: Service\nmetadata:\n\tname: web\n',
    'x.yaml:4:1: error: a tab is used as indentation; expected spaces',
  ],
  'key twice': [
    `${service}spec:\n  ports: []\n`,
    'x.yaml:5:1: error: key "spec" is here a second time; the first is in line 4',
  ],
  'a list': ['- a\n- b\n', `x.yaml:1:1: ${notMap}`],
  'a text': ['hello\n', `x.yaml:1:1: ${notMap}`],
  'an explicit null': ['--- null\n', `x.yaml:1:5: ${notMap}`],
  __proto__: [`${service}__proto__: {polluted: true}\n`, 'x.yaml:5:1: error: key "__proto__" is not accepted anywhere'],
  'constructor among labels': [
    'apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels:\n    constructor: x\n',
    'x.yaml:6:5: error: key "constructor" is not accepted anywhere',
  ],
  'no kind': ['apiVersion: v1\nmetadata: {name: x}\n', `x.yaml:1:1: error: missing field "kind"; expected ${allKinds}`],
  'kind that is a number': ['kind: 3\n', 'x.yaml:1:7: error: kind: 3 is not a string; expected a string'],
  'kind misspelt': [
    'apiVersion: v1\nkind: Servise\nmetadata: {name: x}\n',
    `x.yaml:2:7: error: kind: unknown kind "Servise"; expected ${allKinds}; did you mean Service?`,
  ],
  "Istio's kind": [
    'apiVersion: networking.istio.io/v1\nkind: VirtualService\n',
    `x.yaml:2:7: error: kind: unknown kind "VirtualService"; expected ${allKinds}; did you mean HTTPRoute?`,
  ],
  'kind that every object has': [
    'kind: toString\n',
    `x.yaml:1:7: error: kind: unknown kind "toString"; expected ${allKinds}`,
  ],
  'another version': [
    'apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: x}\n',
    'x.yaml:1:13: error: apiVersion: HTTPRoute of apiVersion "gateway.networking.k8s.io/v1alpha2" is not known; ' +
      'did you mean gateway.networking.k8s.io/v1?',
  ],
  'no version': ['kind: Service\nmetadata: {name: x}\n', 'x.yaml:1:1: error: missing field "apiVersion"; expected v1'],
  'alias without anchor': ['a: *x\n', 'x.yaml:1:4: error: alias *x has no anchor &x before it'],
  'alias to itself': [
    'a: &a\n  b: *a\n',
    'x.yaml:2:6: error: alias *a stands inside what it names: it would never end',
  ],
  'alias bomb': [
    ['a: &a [x,x,x,x,x]', 'b: &b [*a,*a,*a,*a,*a]', 'c: &c [*b,*b,*b,*b,*b]', 'd: [*c,*c,*c,*c,*c]'].join('\n'),
    'x.yaml:1:1: error: aliases repeat more than 100 times what they name',
  ],
  'nested past the limit': [
    `${'{a: '.repeat(65)}1${'}'.repeat(65)}`,
    'x.yaml:1:257: error: nested more than 64 levels deep',
  ],
  'own tag': ['a: !foo 1\n', 'x.yaml:1:4: error: unresolved tag: !foo; expected no tag (a word that begins with "!")'],
  'tag of another type': [
    'a: !!binary aGVsbG8=\n',
    'x.yaml:1:13: error: tag tag:yaml.org,2002:binary is not accepted; expected no tag',
  ],
  'two colons': [
    'a: b: c\n',
    'x.yaml:1:4: error: a second ": " in one line; expected quotes around a text that holds ": "',
  ],
  'reserved character': [
    'a: @x\n',
    'x.yaml:1:4: error: plain value cannot start with reserved character @; expected quotes around the text',
  ],
  'key that is a map': ['? {a: 1}\n: 2\n', 'x.yaml:1:3: error: a key must be plain text'],
  'merge of a number': ['<<: 1\n', 'x.yaml:1:1: error: merge sources must be maps or map aliases'],
  'YAML 1.1': [
    '%YAML 1.1\n---\nkind: yes\n',
    'x.yaml:2:1: error: YAML 1.1 is not read; expected YAML 1.2, without %YAML',
  ],
  indentation: ['a:\n  b: 1\n c: 2\n', 'x.yaml:3:1: error: all mapping items must start at the same column'],
  'the same document twice': [
    `${service}---\n${service}`,
    'x.yaml:8:18: error: metadata.name: Service default/web is here a second time; the first is at x.yaml:3:18',
  ],
  'a bad item of a List': [
    'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: a\n  spec:\n' +
      '    ports: [{port: 0}]\n- 5\n',
    'x.yaml:9:20: error: spec.ports[0].port: 0 is too small; expected a whole number from 1 to 65535',
    `x.yaml:10:3: ${notMap}`,
  ],
  'windows line ends': [
    'apiVersion: v1\r\nkind: Service\r\nmetadata:\r\n  nam: web\r\nspec: {}\r\n',
    'x.yaml:3:1: error: metadata.name: missing field "name"; expected a string',
    'x.yaml:4:3: warning: metadata.nam: unknown field "nam"; did you mean name?',
  ],
}

describe('a bad text is refused with its place', () => {
  for (const [name, [text, ...lines]] of Object.entries(badTexts)) {
    test(name, () => {
      assert.deepEqual(linesOf(text), lines)
      assert.equal(loadDocuments([{ path: 'x.yaml', text }]).documents.filter((d) => d.kind !== 'Service').length, 0)
    })
  }
})

const badBytes: Record<string, [bytes: Uint8Array, line: string]> = {
  'an executable': [
    Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1),
    'the file is binary (NUL byte at offset 4); expected UTF-8 text',
  ],
  'UTF-16': [Uint8Array.of(0xff, 0xfe, 0x61, 0), 'the file is UTF-16; expected UTF-8 text'],
  'Latin-1': [Uint8Array.of(0x61, 0x3a, 0x20, 0xe9), 'the file is not UTF-8 text; expected UTF-8 text'],
  'one byte too many': [
    new Uint8Array(fileBytesMax + 1).fill(0x23),
    'the file has 4194305 bytes; at most 4194304 (4 MiB) are read; expected a smaller file: split it at its "---" lines',
  ],
}

describe('bytes that are no policy are refused', () => {
  for (const [name, [bytes, line]] of Object.entries(badBytes)) {
    test(name, () => {
      const { problems, unidentified } = loadDocuments([{ path: 'x.yaml', bytes }])
      assert.deepEqual(
        problems.map((problem) => formatProblem(problem)),
        [`x.yaml:1:1: error: ${line}`],
      )
      assert.equal(unidentified, true)
    })
  }
})

test('a text that nests thousands deep is a problem, not a crash', () => {
  assert.match(linesOf('['.repeat(20_000)).join('\n'), /^x\.yaml:1:\d+: error: nested too deep to be read$/)
})

test('all problems of all files come at once, in the order of files and lines, and good documents load', () => {
  const { documents, problems } = loadDocuments([
    { path: 'a.yaml', text: `${policy}  retryy: {}\n  loadBalancer: {algorithm: EWMAA}\n---\n${service}` },
    { path: 'b.yaml', text: '- 1\n---\nb: [\n' },
    { path: 'c.yaml', bytes: Buffer.from(service.replace('web', 'orders')) },
  ])
  assert.deepEqual(
    problems.map(({ file, line, code }) => `${file}:${line} ${code}`),
    ['a.yaml:6 unknown-field', 'a.yaml:7 wrong-value', 'b.yaml:1 not-a-map', 'b.yaml:4 yaml-syntax'],
  )
  assert.deepEqual(
    documents.map(({ kind, namespace, name }) => `${kind} ${namespace}/${name}`),
    ['Service default/web', 'Service default/orders'],
  )
})

test('what was refused is named, so that others do not call it missing', () => {
  const bad = loadDocuments([{ path: 'x.yaml', text: `${policy}  retryy: {}\n` }])
  assert.deepEqual(bad.refused, [{ kind: 'BackendPolicy', namespace: 'default', name: 'web' }])
  assert.equal(bad.unidentified, false)
})

test('of two documents of one name the first is taken, even in another file', () => {
  const { documents, problems } = loadDocuments([
    { path: 'a.yaml', text: service },
    { path: 'b.yaml', text: `# copy\n${service}` },
  ])
  assert.deepEqual(
    documents.map(({ origin }) => origin),
    [{ file: 'a.yaml', line: 1, column: 1 }],
  )
  assert.match(problems[0]!.message, /the first is at a\.yaml:3:18$/)
})

test('a bare word that kubectl takes for a boolean is a warning, in quotes it is none', () => {
  const text =
    'apiVersion: outrigger.dev/v1alpha1\nkind: TelemetryPolicy\nmetadata: {name: x}\nspec:\n  accessLog: Off\n'
  const bare = loadDocuments([{ path: 'x.yaml', text }])
  assert.deepEqual(
    bare.problems.map((problem) => formatProblem(problem)),
    ['x.yaml:5:14: warning: kubectl reads the bare word Off as a boolean; did you mean "Off"?'],
  )
  assert.equal(bare.documents.length, 1)
  assert.deepEqual(linesOf(text.replace('Off', '"Off"')), [])
})

test('comments, empty documents, anchors, merges, JSON and a byte order mark are in order', () => {
  assert.deepEqual(linesOf('# none\n'), [])
  assert.deepEqual(linesOf('---\n---\n# x\n---\n'), [])
  assert.deepEqual(linesOf(`\uFEFF${service}`), [])
  assert.deepEqual(
    linesOf(JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' }, spec: {} })),
    [],
  )
  const text =
    'apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: &l {app: x}\n  annotations:\n    <<: *l\n    b: c\n'
  const { documents, problems } = loadDocuments([{ path: 'x.yaml', text }])
  assert.deepEqual(problems, [])
  assert.deepEqual(documents[0]?.value.metadata.annotations, { app: 'x', b: 'c' })
})

test('a file of nothing but mistakes ends in a count', () => {
  const text = Array.from({ length: problemsPerFileMax + 7 }, () => '- 1\n---\n').join('')
  const { problems } = loadDocuments([{ path: 'x.yaml', text }])
  assert.equal(problems.length, problemsPerFileMax + 1)
  assert.equal(problems.at(-1)?.message, '7 more problems in this file are not listed')
})

test('a document knows the place of each value, and of the nearest thing around what is not there', () => {
  const text = `${policy}  retry:\n    attempts: 2\n    codes: [502, 503]\n`
  const [document] = loadDocuments([{ path: 'x.yaml', text }]).documents
  const at = (...path: (string | number)[]) => Object.values(document!.locate(path)).join(':')
  assert.equal(at(), '1:1')
  assert.equal(at('spec', 'retry'), '6:3')
  assert.equal(at('spec', 'retry', 'attempts'), '7:15')
  assert.equal(at('spec', 'retry', 'codes', 1), '8:18')
  assert.equal(at('spec', 'retry', 'codes', 9), '8:5')
  assert.equal(at('spec', 'targetRefs', 0, 'name'), '5:38')
  assert.equal(at('spec', 'retry', 'backoff', 'base'), '6:3')
  assert.equal(at('spec', 'connectionPool'), '4:1')
})

test('what kubectl prints loads without a word', () => {
  const text = `
apiVersion: v1
kind: List
metadata: {resourceVersion: ""}
items:
- apiVersion: v1
  kind: Service
  metadata:
    creationTimestamp: "2026-01-02T03:04:05Z"
    labels: {app: web}
    managedFields: [{manager: kubectl}]
    name: web
    namespace: shop
    resourceVersion: "12"
    uid: 2f0e
  spec:
    clusterIP: 10.96.0.7
    clusterIPs: [10.96.0.7]
    internalTrafficPolicy: Cluster
    ipFamilies: [IPv4]
    ipFamilyPolicy: SingleStack
    ports: [{name: http, port: 80, protocol: TCP, targetPort: web}]
    selector: {app: web}
    sessionAffinity: None
    type: ClusterIP
  status: {loadBalancer: {}}
- addressType: IPv4
  apiVersion: discovery.k8s.io/v1
  endpoints: null
  kind: EndpointSlice
  metadata:
    generation: 3
    labels: {kubernetes.io/service-name: web}
    name: web-x7
    namespace: shop
  ports: null
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop, creationTimestamp: null}
  spec: {finalizers: [kubernetes]}
  status: {phase: Active}
`
  const { documents, problems } = loadDocuments([{ path: 'x.yaml', text }])
  assert.deepEqual(problems, [])
  assert.deepEqual(
    documents.map((d) => `${d.kind}/${d.namespace}/${d.name}`),
    ['Service/shop/web', 'EndpointSlice/shop/web-x7', 'Namespace//shop'],
  )
  assert.equal(documents[1]?.version, '3')
  assert.match(documents[0]!.version, /^[0-9a-f]{8}$/)
})
