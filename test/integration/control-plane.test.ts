import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type ControlPlane, type ControlPlaneOptions, runControlPlane } from '../../control-plane/main.ts'
import { fetchStatus, isWell, statusText } from '../../src/cli/status.ts'
import { makeJoinToken } from '../../src/cli/token.ts'
import { eventually, seen, startSidecar, temporaryFolder } from '../support/control.ts'

const timeout = 60_000

const service = (name: string, port: number | string): string => `apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec:
  ports: [{name: http, port: ${port}}]
`

async function start(
  folder: string,
  options: Partial<ControlPlaneOptions> = {},
): Promise<ControlPlane & AsyncDisposable> {
  const policies = join(folder, 'policies')
  mkdirSync(policies, { recursive: true })
  if (!existsSync(join(policies, 'orders.yaml'))) writeFileSync(join(policies, 'orders.yaml'), service('orders', 8080))
  const controlPlane = await runControlPlane({
    folders: [policies],
    stateDir: join(folder, 'state'),
    ports: { stream: 0, admin: 0 },
    ...options,
  })
  return { ...controlPlane, [Symbol.asyncDispose]: () => controlPlane.stop() }
}

function sidecarOf(controlPlane: ControlPlane, token: () => Promise<string>) {
  const address = `${controlPlane.host}:${controlPlane.ports.stream}`
  const { tokens, trustBundlePem } = controlPlane
  return startSidecar({
    control: { address, tokens, authority: { trustBundlePem } as never },
    token,
    rootPem: trustBundlePem,
  })
}

test('from a file to a sidecar, an edit within a second, a bad edit refused with its place, and status tells it', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  await using controlPlane = await start(folder.path)
  const stateDir = join(folder.path, 'state')
  const admin = `http://127.0.0.1:${controlPlane.ports.admin}`
  assert.equal(readFileSync(join(stateDir, 'root.pem'), 'utf8'), controlPlane.trustBundlePem)
  await using sidecar = await sidecarOf(controlPlane, () =>
    makeJoinToken(stateDir, { namespace: 'shop', serviceAccount: 'web' }),
  )
  const { store } = sidecar
  const portOf = () =>
    seen(store, 'service/shop/orders', (it) => it?.body.case === 'service' && it.body.value.ports[0]?.port === port)
  let port = 8080
  store.watch('service/shop/orders', () => {})
  await portOf()

  port = 9090
  const since = performance.now()
  writeFileSync(join(folder.path, 'policies', 'orders.yaml'), service('orders', port))
  await portOf()
  assert.ok(performance.now() - since < 1_000, 'in force within a second')
  await eventually(() => controlPlane.stream.sidecars.list()[0]?.inSync === true, 'acknowledged')
  const well = await fetchStatus(admin)
  assert.equal(isWell(well), true)
  assert.equal(well.sidecars[0]?.ackedRevision, well.revision)
  assert.match(
    statusText(well, Date.now()),
    /shop\/web-0 +yes, \d+s +\d+ +1 +0 +24h left +test 1 +spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/,
  )

  writeFileSync(join(folder.path, 'policies', 'orders.yaml'), service('orders', 'http'))
  let status = well
  const refreshing = async (): Promise<void> => {
    for (let i = 0; i < 200 && status.sources[0]?.problems.length === 0; i++) {
      status = await fetchStatus(admin)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  await refreshing()
  assert.equal(isWell(status), false)
  assert.equal(status.sources[0]?.problems[0]?.line, 5)
  assert.match(statusText(status, Date.now()), /error: .*orders\.yaml:5:\d+: /)
  assert.equal(store.status().resources.length, 1, 'the last good policy stays in force')
})

test('what is in the way is one line with the remedy, and nothing is left running', { timeout }, async () => {
  using folder = temporaryFolder()
  await using controlPlane = await start(folder.path)
  const fails = async (says: RegExp, options: Partial<ControlPlaneOptions>): Promise<void> => {
    await assert.rejects(start(folder.path, options), (error: unknown) => {
      assert.ok(error instanceof Error)
      assert.match(error.message, says)
      assert.equal(error.message.includes('\n'), false)
      return true
    })
  }
  await fails(/in use by process \d+: stop it, or choose another folder with --state-dir/, {})
  const stateDir = join(folder.path, 'other')
  await fails(/policy stream: the port is in use: .*--stream-port/, {
    stateDir,
    ports: { stream: controlPlane.ports.stream, admin: 0 },
  })
  await fails(/status and traces: the port is in use: .*--admin-port/, {
    stateDir,
    ports: { stream: 0, admin: controlPlane.ports.admin },
  })
  await fails(/name one with -f/, { stateDir, folders: [] })
  await fails(/is no trust domain/, { stateDir, trustDomain: 'Not A Domain' })
  await fails(/is of spiffe:\/\/cluster\.local/, { stateDir, trustDomain: 'other.domain' })
  // The failures gave back folder and ports.
  await using second = await start(folder.path, { stateDir })
  assert.notEqual(second.ports.stream, controlPlane.ports.stream)
})

test('restarted on the same state folder, it is the same authority; its lock is free after stop', {
  timeout,
}, async () => {
  using folder = temporaryFolder()
  const first = await start(folder.path)
  await first.stop()
  await using second = await start(folder.path)
  assert.equal(second.trustBundlePem, first.trustBundlePem)
  await using sidecar = await sidecarOf(second, () =>
    first.tokens.make({ namespace: 'shop', serviceAccount: 'web' }, 'cluster.local'),
  )
  await sidecar.certificate.whenHeld()
})

const command = fileURLToPath(new URL('../../src/cli/outrigger', import.meta.url))

function outrigger(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(command, args, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr })
    })
  })
}

test('outrigger token and outrigger status, as a person calls them', { timeout }, async () => {
  using folder = temporaryFolder()
  await using controlPlane = await start(folder.path)
  const stateDir = join(folder.path, 'state')
  const token = await outrigger('token', 'shop/web', '--state-dir', stateDir)
  assert.deepEqual([token.code, token.stderr], [0, ''])
  await using sidecar = await sidecarOf(controlPlane, () => Promise.resolve(token.stdout.trim()))
  await sidecar.store.whenSynced(10_000)
  const admin = `127.0.0.1:${controlPlane.ports.admin}`
  const text = await outrigger('status', '--admin', admin)
  assert.equal(text.code, 0, text.stderr)
  assert.match(text.stdout, /1 of 1 sidecars connected/)
  const json = await outrigger('status', '--admin', admin, '-o', 'json')
  assert.equal((JSON.parse(json.stdout) as { sidecars: unknown[] }).sidecars.length, 1)

  const wrong = await outrigger('token', 'shop')
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /NAMESPACE\/SERVICEACCOUNT/)
  const nowhere = await outrigger('token', 'shop/web', '--state-dir', join(folder.path, 'none'))
  assert.deepEqual([nowhere.code, nowhere.stdout], [1, ''])
  assert.match(nowhere.stderr, /start the control plane once with this state folder/)
  const free = createServer()
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve))
  const address = free.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  await new Promise((resolve) => free.close(resolve))
  const silent = await outrigger('status', '--admin', `127.0.0.1:${port}`)
  assert.deepEqual([silent.code, silent.stdout], [1, ''])
  assert.match(
    silent.stderr,
    /no control plane answers at http:\/\/127\.0\.0\.1:\d+ .*start one with 'outrigger up DIR'/,
  )
  // Who was asked, and one line about it.
  assert.equal(silent.stderr.trim().split('\n').length, 2)
})
