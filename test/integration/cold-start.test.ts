/** A control plane that starts on documents that are not in order: what protected before protects still. */
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import type http from 'node:http'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { ControlPlaneStatus } from '../../control-plane/admin/status.ts'
import { eventually, LinesLog } from '../support/control.ts'
import { call, Mesh, type MeshSpec } from '../support/mesh.ts'

const deny = `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: test }
spec:
  action: DENY
  rules:
    - to: [{ paths: [/admin] }]
`
const typo = deny.replace('action: DENY', 'action: DENI')
const workloads: MeshSpec['workloads'] = [
  { name: 'client' },
  { name: 'server', app: (_req: http.IncomingMessage, res: http.ServerResponse) => void res.end('ok') },
]

async function statusOf(mesh: Mesh): Promise<ControlPlaneStatus> {
  const { admin } = mesh.controlPlane.ports
  return (await (await fetch(`http://127.0.0.1:${admin}/status`)).json()) as ControlPlaneStatus
}

async function health(mesh: Mesh): Promise<{ status: number; body: { ready: boolean; reason?: string } }> {
  const answer = await fetch(`http://127.0.0.1:${mesh.controlPlane.ports.admin}/healthz`)
  return { status: answer.status, body: (await answer.json()) as { ready: boolean; reason?: string } }
}

const errors = (status: ControlPlaneStatus): string[] =>
  status.sources
    .flatMap(({ problems }) => problems.filter(({ severity }) => severity === 'error'))
    .map((p) => p.message)

const ask = async (mesh: Mesh, path: string): Promise<number> =>
  (await call(mesh.get('client'), `http://server:8080${path}`)).status

/** As a new Pod: nothing on disk. */
async function restartWithoutState(mesh: Mesh, name: string): Promise<void> {
  await mesh.get(name).stop()
  for (const file of ['policy.bin', 'identity.json']) rmSync(join(mesh.folder, name, file), { force: true })
  await mesh.get(name).restart()
}

describe('cold start', () => {
  it('a policy that was spoiled while the control plane was down is in force as it was, also for a new sidecar', async () => {
    await using mesh = await Mesh.start({ workloads, policies: deny })
    assert.deepEqual([await ask(mesh, '/'), await ask(mesh, '/admin')], [200, 403])
    await mesh.stopControlPlane()
    writeFileSync(join(mesh.documents, 'policies.yaml'), typo)
    await mesh.startControlPlane()
    assert.deepEqual(await health(mesh), { status: 200, body: { ready: true } })
    await mesh.settled()
    await restartWithoutState(mesh, 'server')
    await mesh.ready()
    assert.deepEqual([await ask(mesh, '/'), await ask(mesh, '/admin')], [200, 403])
    const status = await statusOf(mesh)
    assert.deepEqual(status.blocked, [])
    const [message] = errors(status)
    assert.match(
      message ?? '',
      /; last good of \d{4}-\d\d-\d\dT[\d:.]+Z in force for AuthorizationPolicy test\/no-admin$/,
    )
    // What is written at last is in force.
    await mesh.setPolicies(deny.replace('/admin', '/other'))
    assert.deepEqual([await ask(mesh, '/admin'), await ask(mesh, '/other')], [200, 403])
    assert.deepEqual(errors(await statusOf(mesh)), [])
  })

  it('without a last good version nothing is published: sidecars keep theirs, a new one is not ready, and it says why', async () => {
    const log = new LinesLog()
    await using mesh = await Mesh.start({ workloads, policies: deny, controlPlane: { log } })
    assert.equal(await ask(mesh, '/admin'), 403)
    await mesh.stopControlPlane()
    rmSync(join(mesh.folder, 'control-plane', 'last-good-documents'))
    writeFileSync(join(mesh.documents, 'policies.yaml'), typo)
    await mesh.startControlPlane()

    const reason =
      /policies\.yaml:5:11: error: spec\.action: .*; there is no last good version of AuthorizationPolicy test\/no-admin, and nothing is published before this is in order/
    const { status, body } = await health(mesh)
    assert.equal(status, 503)
    assert.equal(body.ready, false)
    assert.match(body.reason ?? '', reason)
    const told = await statusOf(mesh)
    assert.equal(told.synced, false)
    assert.equal(told.revision, 0)
    assert.equal(told.blocked.length, 1)
    assert.match(told.blocked[0] ?? '', reason)
    assert.equal(
      log.lines.filter((line) => line.startsWith('error') && reason.test(line)).length,
      1,
      log.lines.join('\n'),
    )

    // Its stream is open, and nothing comes over it.
    await eventually(
      () => mesh.controlPlane.stream.sidecars.list().filter(({ connected }) => connected).length === 2,
      'both sidecars are back',
    )
    assert.deepEqual([await ask(mesh, '/'), await ask(mesh, '/admin')], [200, 403])
    const server = mesh.get('server')
    await restartWithoutState(mesh, 'server')
    await eventually(() => server.running.credentials.current !== undefined, 'the new sidecar has a certificate')
    const seen = server.seen
    assert.deepEqual(server.running.ready(), { ready: false, reason: 'no policy yet: waiting for the control plane' })
    assert.equal(await ask(mesh, '/'), 503)
    assert.equal(server.seen, seen, 'no byte reached the application')

    await mesh.setPolicies(deny)
    await mesh.ready()
    assert.deepEqual(await health(mesh), { status: 200, body: { ready: true } })
    assert.deepEqual([await ask(mesh, '/'), await ask(mesh, '/admin')], [200, 403])
  })

  it('another kind that is invalid is left out and told, and everything else is published', async () => {
    await using mesh = await Mesh.start({ workloads, policies: deny })
    await mesh.stopControlPlane()
    rmSync(join(mesh.folder, 'control-plane', 'last-good-documents'))
    writeFileSync(
      join(mesh.documents, 'fault.yaml'),
      'apiVersion: outrigger.dev/v1alpha1\nkind: FaultInjection\nmetadata: { name: f, namespace: test }\nspec: { abrot: {} }\n',
    )
    await mesh.startControlPlane()
    assert.equal((await health(mesh)).status, 200)
    await mesh.settled()
    assert.deepEqual([await ask(mesh, '/'), await ask(mesh, '/admin')], [200, 403])
    assert.match(errors(await statusOf(mesh)).join(), /abrot/)
  })

  it('what is wrong between documents is in the status, and goes when it is put right', async () => {
    const dangling = deny.replace('spec:', 'spec:\n  targetRefs: [{ group: "", kind: Service, name: sever }]')
    await using mesh = await Mesh.start({ workloads, policies: dangling })
    const model = async () => (await statusOf(mesh)).sources.find(({ name }) => name === 'model')?.problems ?? []
    let found = await model()
    while (found.length === 0) found = await model()
    assert.equal(found[0]?.code, 'dangling-reference')
    assert.match(found[0].file, /policies\.yaml$/)
    assert.deepEqual([found[0].line, found[0].severity, found[0].suggestion], [5, 'error', 'server'])
    await mesh.setPolicies(dangling.replace('sever ', 'server '))
    while (found.length > 0) found = await model()
    assert.equal(await ask(mesh, '/admin'), 403)
  })
})
