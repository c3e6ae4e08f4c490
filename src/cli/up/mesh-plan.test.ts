import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadDocuments } from '../../api/documents/load-documents.ts'
import { type MeshPlan, planMesh } from './mesh-plan.ts'
import { appPrograms, type MeshSurroundings, sidecarProgram, wantedPorts } from './mesh-programs.ts'
import { readDocuments } from './read-documents.ts'

function plan(text: string): MeshPlan {
  const { documents, problems } = loadDocuments([{ path: 'x.yaml', text }])
  assert.deepEqual(
    problems.filter(({ severity }) => severity === 'error'),
    [],
  )
  return planMesh(documents)
}

const pod = (spec: string, metadata = ''): string => `apiVersion: v1
kind: Pod
metadata: { name: a, namespace: n, labels: { outrigger.dev/inject: "true" }${metadata} }
spec: ${spec}
status: { podIP: 127.9.9.9 }
`

test('the shop: six workloads, each on its own address', async () => {
  const { documents, problems } = await readDocuments([join(import.meta.dirname, '../../../examples/shop')])
  assert.deepEqual(problems, [])
  const { workloads, problems: planProblems } = planMesh(documents)
  assert.deepEqual(planProblems, [])
  const byName = new Map(workloads.map((workload) => [workload.name, workload]))
  assert.deepEqual([...byName.keys()].toSorted(), [
    'client',
    'inventory-v1',
    'inventory-v2',
    'orders',
    'shipping',
    'web',
  ])
  assert.equal(new Set(workloads.map(({ address }) => address)).size, 6)
  const web = byName.get('web')
  assert.deepEqual(web?.ports, [{ port: 8080, appPort: 18_080 }])
  assert.deepEqual(web?.programs, [
    { name: 'web', command: 'node', args: ['apps/web.ts'], env: { SERVICE: 'web', VERSION: 'v1' }, appPort: 18_080 },
  ])
  assert.deepEqual(byName.get('client')?.load, { url: new URL('http://web:8080/'), ratePerSecond: 50 })
})

test('a Pod without the label runs as it is, on its own port', () => {
  const text = pod('{ containers: [{ name: c, command: [x], ports: [{ containerPort: 9000 }] }] }').replace(
    '"true"',
    '"false"',
  )
  const [workload] = plan(text).workloads
  assert.equal(workload?.meshed, false)
  assert.deepEqual(workload?.ports, [{ port: 9_000, appPort: 9_000 }])
})

for (const [what, text, message] of [
  [
    'no address',
    pod('{}').replace(/status.*\n/, ''),
    /^x\.yaml:3:19: Pod a has no address: name it in an EndpointSlice/,
  ],
  [
    'a port that is too high',
    pod('{ containers: [{ ports: [{ containerPort: 60000 }] }] }'),
    /^x\.yaml:4:\d+: the application would listen on port 70000/,
  ],
  ['a command that is no list', pod('{ containers: [{ command: node }] }'), /^x\.yaml:4:\d+: command: /],
  [
    'a load that is no address',
    pod('{}', ', annotations: { outrigger.dev/load: "web:8080" }'),
    /^x\.yaml:3:\d+: "web:8080" is not an http:\/\/ address/,
  ],
  [
    'a rate of nothing',
    pod('{}', ', annotations: { outrigger.dev/load: "http://web/", outrigger.dev/load-rate: "0" }'),
    /^x\.yaml:3:\d+: not a number of requests/,
  ],
] as const) {
  test(`told with its place: ${what}`, () => {
    const { problems } = plan(text)
    assert.equal(problems.length, 1)
    assert.match(problems[0] ?? '', message)
  })
}

const mesh: MeshSurroundings = {
  folder: 'shop',
  overlays: ['more'],
  stateDir: '/s',
  ownStateDir: '/s/up',
  host: '127.0.0.1',
  env: { PATH: '/bin', HTTPS_PROXY: 'http://corp', no_proxy: '*', OUTRIGGER_ADDRESS: '1.2.3.4', LANG: 'C' },
  makeToken: async () => 'secret-token',
}

test('a sidecar gets its token by file descriptor, never in its command line', async () => {
  const [workload] = plan(pod('{ containers: [{ command: [x], ports: [{ containerPort: 80 }] }] }')).workloads
  assert.ok(workload)
  const spec = sidecarProgram(mesh, workload)
  assert.equal(await spec.secret?.(), 'secret-token')
  assert.ok(!JSON.stringify([spec.args, spec.env]).includes('secret-token'))
  assert.ok(spec.args.join(' ').includes('--inbound 127.9.9.9:80=127.9.9.9:10080'))
  assert.equal(spec.env['OUTRIGGER_ADDRESS'], undefined)
})

test('an application learns where to listen and its proxy, and nothing of the proxy of this shell', () => {
  const [workload] = plan(
    pod('{ containers: [{ command: [x], env: [{ name: PORT_HINT, value: "1" }], ports: [{ containerPort: 80 }] }] }'),
  ).workloads
  assert.ok(workload)
  const [program] = appPrograms(mesh, workload)
  assert.ok(program)
  const { env, cwd } = program
  assert.equal(cwd, 'shop')
  assert.deepEqual([env['HOST'], env['PORT'], env['PORT_HINT']], ['127.9.9.9', '10080', '1'])
  assert.deepEqual([env['http_proxy'], env['NODE_USE_ENV_PROXY']], ['http://127.9.9.9:15001', '1'])
  assert.deepEqual([env['HTTPS_PROXY'], env['no_proxy'], env['OUTRIGGER_ADDRESS']], [undefined, undefined, undefined])
})

test('every address that will be listened on is wanted once', () => {
  const { workloads } = plan(pod('{ containers: [{ command: [x], ports: [{ containerPort: 80 }] }] }'))
  const ports = wantedPorts(mesh, workloads).map(({ address, port }) => `${address}:${port}`)
  assert.deepEqual(
    ports.toSorted().join(' '),
    '127.0.0.1:15012 127.0.0.1:15014 127.9.9.9:10080 127.9.9.9:15000 127.9.9.9:15001 127.9.9.9:15020 127.9.9.9:15021 127.9.9.9:80',
  )
})
