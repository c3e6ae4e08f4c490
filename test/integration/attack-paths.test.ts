/** Every spelling of a denied path, and what must pass untouched, through running sidecars (`test/attack/paths.ts`). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { notUtf8, onlyWhereNothingElseIsPermitted, ordinary, spellings } from '../attack/paths.ts'
import { lanes, RecordingApp, throughConnect } from '../support/attack-lanes.ts'
import { Mesh } from '../support/mesh.ts'
import { readUntil } from '../support/raw.ts'

/** Applications by what protects them. */
const rules = {
  open: undefined,
  denied: '{ action: DENY, rules: [{ to: [{ paths: [/admin, "/admin/*"] }] }] }',
  excepted: '{ action: ALLOW, rules: [{ to: [{ notPaths: [/admin, "/admin/*"] }] }] }',
  permitted: '{ action: ALLOW, rules: [{ to: [{ paths: [/public, "/public/*"] }] }] }',
} as const
type App = keyof typeof rules
const appNames = Object.keys(rules) as App[]

const policies = Object.entries({ ...rules, 'vague-denied': rules.denied, 'vague-excepted': rules.excepted })
  .filter(([, spec]) => spec !== undefined)
  .map(
    ([app, spec]) => `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: ${app}, namespace: test }
spec: { selector: { matchLabels: { app: ${app} } }, ${spec!.slice(1)}
`,
  )
  .join('---\n')

const request = (app: App, target: string): string =>
  `GET ${target.replace('HOST', `${app}:8080`)} HTTP/1.1\r\nHost: ${app}:8080\r\n\r\n`
/** Targets of the requests that an application got. */
const targetsOf = (received: string): string[] =>
  [...received.matchAll(/^GET (\S*) HTTP\/1\.1\r$/gm)].map(([, t]) => t!)

describe('paths through running sidecars', () => {
  const apps = Object.fromEntries(appNames.map((name) => [name, new RecordingApp()])) as Record<App, RecordingApp>
  /** Behind ports of which nobody has said what they speak. */
  const vague = new RecordingApp()
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        ...appNames.map((name) => ({ name, tcp: apps[name].serve })),
        ...['vague-denied', 'vague-excepted'].map((name) => ({ name, tcp: vague.serve, portName: 'what' })),
      ],
      policies,
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  for (const app of appNames.filter((name) => name !== 'open')) {
    it(`${spellings.length} spellings of /admin are refused where it is ${app}`, async () => {
      for (const lane of lanes(mesh)) {
        for (const [target, status] of spellings) {
          if (app !== 'permitted' && onlyWhereNothingElseIsPermitted.has(target)) continue
          const got = await lane.send(app, request(app, target))
          assert.equal(got.status, status, `${lane.name}: ${target}: ${got.text.slice(0, 300)}`)
          const reason = status === 403 ? `DENIED; policy=AuthorizationPolicy/test/${app};` : 'BAD_REQUEST;'
          assert.ok(got.text.includes(`x-outrigger-reason: ${reason}`), `${lane.name}: ${target}: ${got.text}`)
        }
        // Whatever had passed would have arrived before this.
        assert.equal((await lane.send(app, request(app, '/public/last'))).status, 200, lane.name)
        assert.deepEqual(targetsOf(apps[app].take()), ['/public/last'], `${lane.name}: nothing else reached it`)
      }
    })
  }

  it('nor does it help to go through CONNECT', async () => {
    for (const [target, status] of spellings) {
      if (onlyWhereNothingElseIsPermitted.has(target)) continue
      assert.equal((await throughConnect(mesh, 'denied', request('denied', target))).status, status, target)
    }
    assert.equal((await throughConnect(mesh, 'denied', request('denied', '/public/last'))).status, 200)
    assert.deepEqual(targetsOf(apps.denied.take()), ['/public/last'])
  })

  it('nor to be silent until a port that says nothing of itself takes the connection for opaque', async () => {
    for (const app of ['vague-denied', 'vague-excepted']) {
      const wire = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: ${app}:8080\r\n\r\n`
      const socket = net.connect(8080, mesh.get(app).address)
      const got = readUntil(socket, /^$/, 10_000)
      await once(socket, 'connect')
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      socket.write(wire('/admin'))
      assert.equal((await got).text, '', app)
      for (const lane of lanes(mesh))
        assert.equal((await lane.send(app, wire('//admin'))).status, 403, `${lane.name}: ${app}`)
      assert.equal((await throughConnect(mesh, app, wire('/admin'))).status, 403, app)
      assert.equal((await throughConnect(mesh, app, wire('/public'))).status, 200, app)
      assert.deepEqual(targetsOf(vague.take()), ['/public'], app)
    }
  })

  for (const app of ['open', 'denied', 'excepted'] as const) {
    it(`${ordinary.length} ordinary targets pass byte for byte where /admin is ${app}`, async () => {
      for (const lane of lanes(mesh)) {
        for (const [what, target] of app === 'open' ? [...ordinary, ...notUtf8] : ordinary) {
          const got = await lane.send(app, request(app, target))
          assert.equal(got.status, 200, `${lane.name}: ${what}: ${target}: ${got.text.slice(0, 300)}`)
          assert.deepEqual(targetsOf(apps[app].take()), [target], `${lane.name}: ${what}`)
        }
      }
    })
  }

  it('escapes that are not UTF-8 are refused where a policy names paths, and only there', async () => {
    for (const [what, target] of notUtf8) {
      for (const lane of lanes(mesh)) {
        assert.equal((await lane.send('denied', request('denied', target))).status, 400, `${lane.name}: ${what}`)
        assert.equal(apps.denied.take(), '')
      }
    }
  })

  it('what is sent on is what was judged', async () => {
    for (const [target, sent] of [
      ['/%70ublic/%7Euser', '/public/~user'],
      ['/public/a/./b/../c?x=/../y', '/public/a/c?x=/../y'],
      ['/public/%2e%2e/public/%41', '/public/A'],
      ['/admin%23/../public', '/public'],
      ['/admin%3F/../../public', '/public'],
      ['http://HOST?x', '/?x'],
    ] as const) {
      for (const lane of lanes(mesh)) {
        assert.equal((await lane.send('denied', request('denied', target))).status, 200, `${lane.name}: ${target}`)
        assert.deepEqual(targetsOf(apps.denied.take()), [sent], lane.name)
      }
    }
  })
})
