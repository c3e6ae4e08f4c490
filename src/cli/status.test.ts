import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import type { TraceView } from '../../control-plane/admin/trace-store.ts'
import {
  CliCluster,
  controlPlaneObjects,
  pod,
  replicaStatus,
  runCommand,
  sidecar,
} from '../../test/support/cli-cluster.ts'
import { joinTraces } from './cluster/trace.ts'

const mark = { annotations: { 'outrigger.dev/status': '{"hash":"a"}' } }
const web = pod('shop', 'web-1', { metadata: mark })
const orders = pod('shop', 'orders-1', { metadata: mark })

test('status --cluster asks every replica and says who is where and who leads', async () => {
  await using cluster = await CliCluster.start(...controlPlaneObjects('cp-a', 'cp-b'), web, orders)
  const moved = sidecar('shop/web-1', { connected: false, since: Date.now() - 1_000 })
  // A Pod that is gone is a replaced one, and no reason to worry.
  const gone = sidecar('shop/web-0', { connected: false })
  await cluster.serve('outrigger-system', 'cp-a', 15_014, { '/status': replicaStatus({ sidecars: [moved, gone] }) })
  await cluster.serve('outrigger-system', 'cp-b', 15_014, {
    '/status': replicaStatus({
      revision: 9,
      sidecars: [sidecar('shop/orders-1', { ackedRevision: 9 }), sidecar('shop/web-1', { ackedRevision: 9 })],
    }),
  })
  const { status, stdout, stderr } = await cluster.run('status', '--cluster')
  assert.equal(status, 0, stderr)
  assert.match(stderr, /^asking every replica in namespace outrigger-system of context fake \(http:.*\)\n$/)
  assert.match(stdout, /^control plane in outrigger-system: 2 of 2 replicas answer, 12 documents, 2 of 2 sidecars/)
  assert.match(stdout, /^cp-a +yes +yes +4 +0 +outrigger/m)
  assert.match(stdout, /^cp-b +yes +9 +2 +outrigger/m)
  assert.match(stdout, /^shop\/orders-1 +yes, \d+[sm] +cp-b +9 /m)
  assert.match(stdout, /^shop\/web-1 +yes, \d+[sm] +cp-b +9 /m)
  assert.doesNotMatch(stdout, /web-0/)

  const json = await cluster.run('status', '--cluster', '-n', 'other', '-o', 'json')
  const parsed = JSON.parse(json.stdout) as { leader: string; sidecars: unknown[] }
  assert.deepEqual([json.status, parsed.leader, parsed.sidecars], [0, 'cp-a', []])
})

test('a silent replica, no leader, a Pod that nobody knows: each is said, exit code 1', async () => {
  const objects = controlPlaneObjects('cp-a', 'cp-b').filter(({ kind }) => kind !== 'Lease')
  await using cluster = await CliCluster.start(...objects, web)
  await cluster.serve('outrigger-system', 'cp-a', 15_014, { '/status': replicaStatus() })
  const first = await cluster.run('status', '--kubeconfig', cluster.kubeconfig)
  assert.equal(first.status, 1)
  assert.match(first.stdout, /1 of 2 replicas answer/)
  assert.match(first.stdout, /^cp-b .*port 15014 of Pod outrigger-system\/cp-b: nothing listens there$/m)
  assert.match(first.stdout, /nobody leads/)
  assert.doesNotMatch(first.stdout, /that no replica knows/, 'the silent one may know it')

  await cluster.serve('outrigger-system', 'cp-b', 15_014, { '/status': replicaStatus() })
  const second = await cluster.run('status', '--cluster')
  assert.equal(second.status, 1)
  assert.match(second.stdout, /Pods with a sidecar that no replica knows .*\n {2}shop\/web-1$/m)
})

test('who may not forward ports is told what is missing', async () => {
  await using cluster = await CliCluster.start(...controlPlaneObjects('cp-a'))
  cluster.forbid('outrigger-system', 'cp-a', 15_014)
  const { stdout } = await cluster.run('status', '--cluster')
  assert.match(stdout, /port-forward is forbidden: this user needs the verbs get and create on pods\/portforward/)
})

test('no control plane in the cluster: how to get one', async () => {
  await using cluster = await CliCluster.start()
  const { status, stderr } = await cluster.run('status', '--cluster')
  assert.equal(status, 1)
  assert.match(stderr, /no Deployment outrigger in namespace outrigger-system: install .*'outrigger install'/)
})

test('forbidden, not logged in: what to do', async () => {
  await using cluster = await CliCluster.start()
  cluster.api.intercepts.push(() => ({ status: 403, body: { reason: 'Forbidden', message: 'User "x" cannot get' } }))
  const forbidden = await cluster.run('status', '--cluster')
  assert.match(forbidden.stderr, /User "x" cannot get[\s\S]*ask for a role/)
  cluster.api.intercepts.splice(0, 1, () => ({ status: 401, body: { message: 'Unauthorized' } }))
  const unknown = await cluster.run('status', '--cluster')
  assert.match(unknown.stderr, /does not accept these credentials: log in again/)
  assert.deepEqual([forbidden.status, unknown.status], [1, 1])
})

test('no kubeconfig, no such context, nobody there: what to do', async () => {
  const nowhere = { HOME: '/nonexistent', KUBECONFIG: '', OUTRIGGER_NODE: process.execPath }
  const none = await runCommand(['status', '--cluster'], nowhere)
  assert.equal(none.status, 1)
  assert.match(none.stderr, /no cluster: set KUBECONFIG or --kubeconfig/)

  const cluster = await CliCluster.start()
  const context = await cluster.run('status', '--context', 'production')
  assert.match(context.stderr, /no context 'production' in the kubeconfig; there are: fake/)
  await cluster.api[Symbol.asyncDispose]()
  const down = await cluster.run('status', '--cluster')
  assert.equal(down.status, 1)
  assert.match(down.stderr, /cannot be reached.*is context fake \(http:.*\) the right one, and is it up\?/)
})

test('--admin asks one address; with --cluster it is a wrong command line', async () => {
  const server = createServer((_request, response) =>
    response.end(JSON.stringify(replicaStatus({ sidecars: [sidecar('shop/a'), sidecar('bank/b')] }))),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const admin = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const one = await runCommand(['status', '--admin', admin, '-n', 'shop'])
  const both = await runCommand(['status', '--admin', admin, '--cluster'])
  server.close()
  assert.equal(one.status, 0)
  assert.equal(one.stderr, `asking the control plane at ${admin}\n`)
  assert.match(one.stdout, /^shop\/a/m)
  assert.doesNotMatch(one.stdout, /bank\/b/)
  assert.equal(both.status, 2)
  assert.match(both.stderr, /'--admin <host:port>' cannot be used with option '--cluster'/)
})

const span = (spanId: string, startMs: number) => ({ spanId, startMs }) as TraceView['spans'][number]
const part = (startMs: number, durationMs: number, spans: TraceView['spans']): TraceView =>
  ({
    traceId: 'a'.repeat(32),
    startMs,
    durationMs,
    spanCount: spans.length,
    droppedSpans: 1,
    quietMs: startMs,
    spans,
  }) as unknown as TraceView

test('a trace whose spans went to several replicas is one again', () => {
  const whole = joinTraces([part(20, 5, [span('b', 20), span('c', 22)]), part(10, 30, [span('a', 10), span('c', 22)])])
  assert.deepEqual(
    [whole.spans.map(({ spanId }) => spanId), whole.startMs, whole.durationMs, whole.spanCount, whole.droppedSpans],
    [['a', 'b', 'c'], 10, 30, 3, 2],
  )
})

test('trace last --cluster asks every replica', async () => {
  await using cluster = await CliCluster.start(...controlPlaneObjects('cp-a', 'cp-b'))
  const id = 'a'.repeat(32)
  const view = (spanId: string, parentSpanId: string, startMs: number) => ({
    ...part(startMs, 10, []),
    quietMs: 5_000,
    service: 'web',
    spans: [
      {
        spanId,
        parentSpanId,
        startMs,
        durationMs: 5,
        name: 'GET',
        service: spanId,
        kind: 'server',
        status: 'ok',
        message: '',
        attributes: {},
        events: [],
      },
    ],
  })
  const answers = (one: unknown) => ({ '/traces/last': one, [`/traces/${id}`]: one })
  await cluster.serve('outrigger-system', 'cp-a', 15_014, answers(view('web', '', 1_000)))
  await cluster.serve('outrigger-system', 'cp-b', 15_014, answers(view('orders', 'web', 1_002)))
  const { status, stdout, stderr } = await cluster.run('trace', 'last', '--cluster')
  assert.equal(status, 0, stderr)
  assert.match(stdout, /2 spans[\s\S]*\n.* web {2}GET[\s\S]*└─ orders {2}GET/)

  await using empty = await CliCluster.start(...controlPlaneObjects('cp-a'))
  await empty.serve('outrigger-system', 'cp-a', 15_014, {})
  const none = await empty.run('trace', 'b'.repeat(32), '--cluster')
  assert.equal(none.status, 1)
  assert.match(none.stderr, /no trace b+: it was not sampled/)
})
