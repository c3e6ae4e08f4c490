import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { issue, rootOf, strangerRoot } from './certificates.ts'
import { appUid, type Machine, type Mesh, mesh } from './mesh.ts'
import type { Packets } from './packets.ts'
import type { Process } from './process.ts'
import { type ControlPlane, peerAuthentication, startControlPlane, startSidecar } from './sidecars.ts'

const tool = 'test/netns/tool.ts'
const families = ['ipv4', 'ipv6'] as const
const cluster = { ipv4: '10.96.0.10', ipv6: 'fd96::10' }
/** What bodies carry, both ways, and the wire must never show. */
const marker = 'MARKER-5f0c1e'

interface Answer {
  readonly status: number
  readonly reply: string
  readonly headers: Record<string, string>
  readonly error?: string
}

async function get(from: Machine, url: string, body?: string): Promise<Answer> {
  return JSON.parse(await from.node(tool, ['get', url, ...(body === undefined ? [] : [body])], { uid: appUid }).done())
}

async function dial(
  from: Machine,
  address: string,
  port: number,
  text?: string,
): Promise<{ reply: string; ended: boolean; error?: string }> {
  return JSON.parse(
    await from.node(tool, ['dial', address, String(port), ...(text === undefined ? [] : [text])]).done(),
  )
}

const host = (address: string) => (address.includes(':') ? `[${address}]` : address)
const plaintextRequest = (path: string) => `GET ${path} HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n`

describe('two sidecars under redirect capture', () => {
  let net: Mesh
  let control: ControlPlane
  let web: Machine
  let orders: Machine
  /** Not of the mesh. */
  let outside: Machine
  let ordersApp: Process
  let ordersSidecar: Process
  let webSidecar: Process
  let wire: Packets

  before(async () => {
    net = mesh()
    const controlMachine = net.machine('control')
    web = net.machine('web')
    orders = net.machine('orders')
    outside = net.machine('outside')
    const service = {
      name: 'orders',
      on: orders,
      clusterIps: Object.values(cluster),
      ports: { http: 8080, raw: 9000, first: 2500 },
    }
    control = await startControlPlane(net, controlMachine, [web, orders], [service], peerAuthentication('STRICT'))
    wire = await net.record('tcp and not port 15012')
    ;[webSidecar, ordersSidecar, ordersApp] = await Promise.all([
      startSidecar(net, control, controlMachine, web),
      // In two threads: whatever holds for one holds for them.
      startSidecar(net, control, controlMachine, orders, { OUTRIGGER_WORKERS: '2' }),
      start(orders, 'http', 8080),
      start(orders, 'echo', 9000),
      start(orders, 'banner', 2500),
      start(outside, 'echo', 9000),
    ])
  })
  after(() => net?.[Symbol.asyncDispose]())

  async function start(on: Machine, role: string, port: number): Promise<Process> {
    const server = on.node(tool, [role, String(port)])
    await server.line(/^ready/)
    return server
  }

  /** Connections and requests that the application of orders has seen. */
  const seenByApp = () => ordersApp.said.split('\n').filter((line) => line.startsWith('{')).length

  for (const family of families) {
    test(`${family}: HTTP by the address of the Service and by the address of the endpoint`, async () => {
      for (const address of [cluster[family], orders[family === 'ipv4' ? 'v4' : 'v6']]) {
        const { status, reply } = await get(web, `http://${host(address)}:8080/${family}`, marker)
        assert.deepEqual([status, reply], [200, `http:${marker}`], address)
      }
      assert.match(await ordersApp.line(new RegExp(`"url":"/${family}"`)), /traceparent/)
    })

    test(`${family}: bytes that are not HTTP, and half-close`, async () => {
      const { reply, ended } = await dial(web, cluster[family], 9000, `\x01${marker}`)
      assert.deepEqual([reply, ended], [`echo:\x01${marker}`, true])
    })

    test(`${family}: a protocol in which the server speaks first`, async () => {
      const { reply } = await dial(web, cluster[family], 2500)
      assert.equal(reply, '220 banner first\r\nafter:thanks')
    })

    test(`${family}: an application that calls its own Service meets its own inbound policy`, async () => {
      const { status, reply } = await get(orders, `http://${host(cluster[family])}:8080/self-${family}`, marker)
      assert.deepEqual([status, reply], [200, `http:${marker}`])
    })

    test(`${family}: who is not of the mesh is reached in the clear`, async () => {
      assert.equal((await dial(web, outside.address(family), 9000, '\x01out')).reply, 'echo:\x01out')
    })

    test(`${family}: STRICT refuses plaintext, without a byte to the application`, async () => {
      const before = seenByApp()
      for (const text of [plaintextRequest('/plain'), '\x01not http', '']) {
        const { reply, ended, error } = await dial(outside, orders.address(family), 8080, text)
        assert.deepEqual([reply, ended, error], ['', false, 'ECONNRESET'], JSON.stringify(text))
      }
      assert.equal(seenByApp(), before)
    })

    test(`${family}: a certificate of the wrong trust domain or of another root gets no byte to the application`, async () => {
      const root = rootOf(control.stateDir)
      const stranger = await strangerRoot()
      const good = 'spiffe://cluster.local/ns/shop/sa/web'
      const wrong: [string, string][] = [
        ['wrong-domain', await issue(root.certificatePem, root.keyPem, 'spiffe://elsewhere.test/ns/shop/sa/web')],
        ['no-spiffe', await issue(root.certificatePem, root.keyPem, 'https://cluster.local/ns/shop/sa/web')],
        ['stranger', await issue(stranger.certificatePem, stranger.keyPem, good)],
      ]
      const call = async (name: string, pem: string): Promise<{ reply: string }> => {
        const file = net.file(`${name}-${family}.pem`, pem, appUid)
        return JSON.parse(await outside.node(tool, ['tls', orders.address(family), '8080', file]).done())
      }
      const before = seenByApp()
      for (const [name, pem] of wrong) assert.equal((await call(name, pem)).reply, '', name)
      assert.equal(seenByApp(), before)
      // The same client with the right name is served, so that it is the name that was refused.
      const right = await call('right', await issue(root.certificatePem, root.keyPem, good))
      assert.match(right.reply, /^HTTP\/1\.1 200 .*http:/s)
    })

    for (const port of [15001, 15006]) {
      test(`${family}: port ${port} dialled directly is refused`, async () => {
        const before = ordersSidecar.said.split('\n').length
        assert.equal((await dial(outside, orders.address(family), port, plaintextRequest('/'))).error, 'ECONNRESET')
        const dropped = ordersSidecar.said
          .split('\n')
          .slice(before)
          .filter((line) => line.includes('loop ('))
        assert.equal(dropped.length, 1, dropped.join('\n'))
      })
    }
  }

  test('on the wire: TLS 1.3 in every connection between the sidecars, and never what the bodies said', async () => {
    const between = `((ip.addr==${web.v4} && ip.addr==${orders.v4}) || (ipv6.addr==${web.v6} && ipv6.addr==${orders.v6}))`
    const asTls = [8080, 9000, 2500].flatMap((port) => ['-d', `tcp.port==${port},tls`])
    const rows = (filter: string, ...names: string[]) => wire.fields(filter, names, asTls)
    const streams = new Set((await rows(`${between} && tcp.len > 0`, 'tcp.stream')).flat())
    assert.ok(streams.size >= 6, `only ${streams.size} connections`)
    const hellos = await rows(
      `${between} && tls.handshake.type == 2`,
      'tcp.stream',
      'tls.handshake.extensions.supported_version',
    )
    assert.deepEqual(new Set(hellos.map(([stream]) => stream)), streams, 'every connection has a ServerHello')
    assert.deepEqual(new Set(hellos.map(([, version]) => version)), new Set(['0x0304']))
    const sources = new Set((await rows(`${between} && tls.handshake.type == 2`, 'ip.src', 'ipv6.src')).flat())
    assert.ok(sources.has(orders.v4) && sources.has(orders.v6), 'both families were seen')
    assert.equal(await wire.contain(marker), false)
    assert.equal(await wire.contain('220 banner'), false)
    assert.equal(
      await wire.contain('echo:\x01out'),
      true,
      'what goes to a stranger is there to be read: the search works',
    )
  })

  test('PERMISSIVE serves plaintext and mTLS side by side; the admin API is not behind either', async () => {
    control.write('policies.yaml', peerAuthentication('PERMISSIVE'))
    const deadline = performance.now() + 10_000
    let reply = ''
    while (reply === '' && performance.now() < deadline)
      ({ reply } = await dial(outside, orders.v4, 8080, plaintextRequest('/permissive')))
    assert.match(reply, /^HTTP\/1\.1 200 /)
    const recorded = await net.record('tcp port 8080')
    for (const family of families) {
      assert.match(
        (await dial(outside, orders.address(family), 8080, plaintextRequest('/permissive'))).reply,
        /^HTTP\/1\.1 200 .*http:/s,
      )
      assert.equal((await get(web, `http://${host(cluster[family])}:8080/meshed`, marker)).status, 200)
      assert.doesNotMatch(
        (await dial(outside, orders.address(family), 15000, plaintextRequest('/stats'))).reply,
        /^HTTP\/1\.1 200/,
      )
      assert.equal((await dial(outside, orders.address(family), 9000, '\x01plain')).reply, 'echo:\x01plain')
    }
    assert.equal(await recorded.contain('/permissive'), true)
    assert.equal(await recorded.contain(marker), false)
  })

  test('a killed sidecar: the traffic of its application fails closed, and nothing of it is on the wire', async () => {
    const recorded = await net.record('tcp port 8080')
    await webSidecar.kill('SIGKILL')
    for (const family of families) {
      const { status, error } = await get(web, `http://${host(orders.address(family))}:8080/`, marker)
      assert.deepEqual([status, error], [0, 'ECONNREFUSED'])
      const inward = await dial(outside, web.address(family), 8080, marker)
      assert.equal(inward.error, 'ECONNREFUSED')
    }
    const payload = await recorded.fields(`ip.src==${web.v4} || ipv6.src==${web.v6}`, ['tcp.len'])
    assert.deepEqual([...new Set(payload.flat())], ['0'], 'resets only')
  })
})
