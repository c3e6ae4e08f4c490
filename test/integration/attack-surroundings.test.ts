/** What hostile traffic may do to what is around the data path: our own ports, logs, metrics, routes (rows 28, 30, 36 to 40, 47). */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { impossibleHosts, loopbackHosts, neighbourHosts } from '../attack/hosts.ts'
import { dialAsPeer, lanes, RecordingApp } from '../support/attack-lanes.ts'
import { eventually } from '../support/control.ts'
import { Mesh, type RunningWorkload } from '../support/mesh.ts'
import { readUntil, sendRaw } from '../support/raw.ts'

const policies = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: app, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: app }]
  rules:
    - matches: [{ headers: [{ name: x-canary, value: always }] }]
      backendRefs: [{ name: canary, port: 8080 }]
    - matches: [{ headers: [{ name: x-user, type: RegularExpression, value: "(a+)+\\\\xff" }] }]
      backendRefs: [{ name: canary, port: 8080 }]
    - backendRefs: [{ name: app, port: 8080 }]
---
apiVersion: outrigger.dev/v1alpha1
kind: FaultInjection
metadata: { name: canary, namespace: test }
spec:
  selector: { matchLabels: { app: canary } }
  match: [{ headers: [{ name: x-role, value: admin }] }]
  abort: { httpStatus: 418 }
`
const get = (authority: string, lines = '', target = '/'): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${authority}\r\n${lines}\r\n`

describe('around the data path', () => {
  const app = new RecordingApp()
  const canary = new RecordingApp()
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({
      workloads: [
        { name: 'client', env: { OUTRIGGER_ACCESS_LOG: 'text' } },
        { name: 'app', tcp: app.serve, env: { OUTRIGGER_ACCESS_LOG: 'json' } },
        { name: 'canary', tcp: canary.serve },
      ],
      policies,
      controlPlane: { outboundPolicy: 'ALLOW_ANY' },
    })
  })
  after(() => mesh[Symbol.asyncDispose]())

  const outbound = (bytes: string) => sendRaw(mesh.get('client').outbound, bytes)

  it('rows 36, 37, 39: nobody is helped to reach the Pod itself or its metadata, however they are spelled', async () => {
    let visits = 0
    const victim = http.createServer((_request, response) => response.end('secret')).on('connection', () => visits++)
    victim.listen(0, '127.0.0.1')
    await once(victim, 'listening')
    try {
      const ports = [(victim.address() as AddressInfo).port, 80, mesh.get('client').outbound.port]
      for (const host of [...loopbackHosts, ...neighbourHosts]) {
        for (const port of ports) {
          for (const request of [
            get(`${host}:${port}`),
            get('app:8080', '', `http://${host}:${port}/config_dump`),
            `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`,
          ]) {
            const { status, text } = await outbound(request)
            assert.ok(status === 502 || status === 400, `${request}: ${text}`)
            assert.match(text, /x-outrigger-reason: (?:UNKNOWN_DESTINATION|LOOP|BAD_REQUEST); by=test\/client/, request)
          }
        }
      }
      for (const host of impossibleHosts) assert.equal((await outbound(get(host))).status, 400, host)
      assert.equal(visits, 0)
    } finally {
      victim.close()
    }
  })

  it('row 36: the admin API is not behind any way into the mesh, and answers no name and no web page', async () => {
    const admin = new URL(mesh.get('app').admin)
    const paths = ['/config_dump', '/stats', '/backends', '/ready', '/drain', '/quitquitquit', '/log-level?level=debug']
    for (const path of paths) {
      for (const lane of lanes(mesh).filter(({ name }) => name !== 'outbound')) {
        for (const method of ['GET', 'POST']) {
          const host = admin.host
          const got = await lane.send('app', `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`)
          assert.match(got.text, /\r\n\r\nok$/, 'it is the application that answers')
          assert.ok(app.take().startsWith(`${method} ${path} HTTP/1.1\r\n`))
        }
      }
      const direct = { host: admin.hostname, port: Number(admin.port) }
      for (const name of [
        'evil.example',
        `evil.example:${admin.port}`,
        '127.0.0.1.evil.example',
        'a@127.0.0.1',
        '[::1].x',
      ])
        assert.equal((await sendRaw(direct, get(name, '', path))).status, 421, name)
      const post = `POST ${path} HTTP/1.1\r\nHost: ${admin.host}\r\nContent-Length: 0\r\n`
      const page = await sendRaw(direct, `${post}Origin: http://evil.example\r\n\r\n`)
      assert.ok([403, 404, 405].includes(page.status), `${path}: ${page.text}`)
    }
    assert.ok(mesh.get('app').running.ready().ready, 'and nobody has drained it')
  })

  it('row 28: of several fields of one name each counts, in any order', async () => {
    for (const [lines, to] of [
      ['X-Canary: no\r\nx-canary: always\r\n', canary],
      ['x-canary: always\r\nX-Canary: no\r\n', canary],
      ['X-CANARY: always\r\n', canary],
      ['X-Canary: no, always\r\n', app],
      ['X-Canary: Always\r\n', app],
      ['X_Canary: always\r\n', app],
      ['Cookie: x-canary=always\r\n', app],
    ] as const) {
      assert.equal((await outbound(get('app:8080', lines))).status, 200)
      assert.notEqual(to.take(), '', lines)
      assert.equal(app.take() + canary.take(), '', lines)
    }
    for (const lines of ['X-Role: user\r\nX-Role: admin\r\n', 'X-Role: admin\r\nX-Role: user\r\n'])
      for (const lane of lanes(mesh)) {
        const got = await lane.send('canary', get('canary:8080', lines))
        assert.equal(got.status, 418, lane.name)
      }
    assert.equal(canary.take(), '')
  })

  it('row 30: a regular expression takes linear time, and bytes that are no text do not upset it', async () => {
    for (const [value, to] of [
      ['aaaa\xff', canary],
      ['aaaa\xfe', app],
      ['\x80\xff', app],
      [`${'a'.repeat(50_000)}!`, app],
      [`${'a'.repeat(50_000)}\xff`, canary],
    ] as const) {
      const started = process.cpuUsage()
      const { status } = await outbound(get('app:8080', `X-User: ${value}\r\n`))
      assert.equal(status, 200)
      assert.ok(process.cpuUsage(started).user < 1_000_000, 'less than a second of CPU')
      assert.notEqual(to.take(), '')
      assert.equal(app.take() + canary.take(), '')
    }
  })

  it('row 40: one line of printable ASCII for each request, at most 4 KiB, whatever it holds', async () => {
    const hostile = [
      '\x80\xff\xe2\x80\xa8',
      '"quoted" \\"\\',
      "'$(reboot)`",
      '\t',
      '%0d%0aGET',
      '{"a":1}\\u0000',
      'b'.repeat(10_000),
    ]
    const requests: string[] = []
    for (const text of hostile) {
      requests.push(
        get(
          'app:8080',
          `User-Agent: ${text}\r\nX-Request-ID: ${text}\r\nX-Forwarded-For: ${text}\r\ntraceparent: ${text}\r\nbaggage: ${text}\r\n`,
          `/${encodeURIComponent(text.slice(0, 4_000))}?${'"\\<>`{|}'.repeat(9)}`,
        ),
      )
    }
    // And what is refused before it is a request.
    requests.push(
      'GET /\x1b[2J HTTP/1.1\r\n\r\n',
      'G"ET\\ / HTTP/1.1\r\n\r\n',
      get('app:8080\x1b[31m'),
      '\x16\x03\x01"\r\n\r\n',
    )
    const lines = (of: RunningWorkload): string[] => of.log.split('\n').filter((line) => line !== '')
    const [client, server] = [mesh.get('client'), mesh.get('app')]
    for (const [of, send] of [
      [client, (bytes: string) => outbound(bytes)],
      [server, (bytes: string) => sendRaw({ host: server.address, port: 8080 }, bytes)],
    ] as const) {
      const before = lines(of).length
      for (const bytes of requests) await send(bytes)
      await eventually(
        () => lines(of).length >= before + requests.length,
        `${of.name} logs ${requests.length} requests`,
      )
    }
    for (const line of [...lines(client), ...lines(server)]) {
      assert.match(line, /^[\x20-\x7e]{1,4095}$/)
    }
    for (const line of lines(server)) assert.equal(typeof (JSON.parse(line) as { message: unknown }).message, 'string')
    app.take()
  })

  it('row 47: what a client can invent makes no series', async () => {
    const series = async (of: RunningWorkload): Promise<number> =>
      (await (await fetch(`${of.metrics}/metrics`)).text()).split('\n').filter((line) => !line.startsWith('#')).length
    const [client, server] = [mesh.get('client'), mesh.get('app')]
    const one = async (i: number): Promise<void> => {
      await outbound(`M${i} /p${i}?q=${i} HTTP/1.1\r\nHost: app:8080\r\nUser-Agent: u${i}\r\n\r\n`)
      // DNS takes its time to say that there is no such name.
      if (i < 5) await outbound(get(`h${i}.invalid:${1 + i}`, `X-Forwarded-For: 10.0.0.${i}\r\n`))
      await sendRaw(
        { host: server.address, port: 8080 },
        get(`h${i}.example`, `X-Outrigger-Reason: R${i}\r\n`, `/${i}`),
      )
      await sendRaw({ host: server.address, port: 8080 }, get(`h${i}@x`))
    }
    await one(0)
    const before = [await series(client), await series(server)]
    for (let i = 1; i <= 100; i++) await one(i)
    const grown = [(await series(client)) - before[0]!, (await series(server)) - before[1]!]
    assert.ok(grown[0]! <= 10 && grown[1]! <= 10, `grown by ${grown.join(' and ')} series`)
    app.take()
  })

  it('row 38: nobody steers the traffic of another namespace', async () => {
    const route = (parent: string): string => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: thief, namespace: evil }
spec:
  parentRefs: [{ group: "", kind: Service, name: app, namespace: ${parent} }]
  rules: [{ backendRefs: [{ name: canary, namespace: test, port: 8080 }] }]
`
    await mesh.addDocument(
      'evil.yaml',
      `apiVersion: v1\nkind: Namespace\nmetadata: { name: evil }\n---\n${route('test')}`,
    )
    assert.equal((await outbound(get('app:8080'))).status, 200)
    assert.notEqual(app.take(), '', 'a consumer route holds for its own namespace alone')
    const socket = await dialAsPeer(mesh, 'app')
    socket.write(get('app:8080'))
    await readUntil(socket)
    assert.notEqual(app.take(), '')
    assert.equal(canary.take(), '')
  })
})
