/** What a Pod does beside calling its neighbours, and what is done to it, under redirect capture, STRICT and REGISTRY_ONLY. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { AppProbe } from '../../src/api/app-probe.ts'
import { appUid, type Machine, type Mesh, mesh } from './mesh.ts'
import type { Process } from './process.ts'
import { type ControlPlane, peerAuthentication, startControlPlane, startSidecar } from './sidecars.ts'

const tool = 'test/netns/tool.ts'
const families = ['ipv4', 'ipv6'] as const
const host = (address: string) => (address.includes(':') ? `[${address}]` : address)
const apiServer = { ipv4: '10.96.0.1', ipv6: 'fd96::1' }
const dns = { ipv4: '10.96.0.2', ipv6: 'fd96::2' }
/** The first bytes of a TLS handshake: of the application's own, which is relayed as it is. */
const tlsBytes = '\x16\x03\x01 hello of its own'

const probes: Readonly<Record<string, AppProbe>> = {
  '/app-health/web/readyz': { kind: 'http', port: 8080, path: '/ready', tls: false, headers: [], timeoutMs: 2_000 },
  '/app-health/web/livez': { kind: 'tcp', port: 9000, timeoutMs: 2_000 },
  '/app-health/web/startupz': { kind: 'tcp', port: 9999, timeoutMs: 2_000 },
}

describe('a Pod under redirect capture', () => {
  let net: Mesh
  let control: ControlPlane
  let web: Machine
  /** Of no mesh: the node, the API server, DNS. */
  let node: Machine
  let app: Process

  before(async () => {
    net = mesh()
    const controlMachine = net.machine('control')
    web = net.machine('web')
    node = net.machine('node')
    const flags = ['--outbound-policy', 'REGISTRY_ONLY']
    control = await startControlPlane(net, controlMachine, [web], [], peerAuthentication('STRICT'), flags)
    control.write(
      'outside.yaml',
      [service('kubernetes', 'https', 443, 6443, apiServer), service('dns', 'dns-tcp', 53, 53, dns)].join('---\n'),
    )
    ;[, app] = await Promise.all([
      startSidecar(net, control, controlMachine, web, { OUTRIGGER_APP_PROBES: JSON.stringify(probes) }),
      start(web, 'http', 8080),
      start(web, 'echo', 9000),
      start(node, 'echo', 6443),
      startAs(node, 0, 'echo', 53),
      startAs(node, 0, 'udp-echo', 53),
      start(node, 'echo', 9000),
    ])
  })
  after(() => net?.[Symbol.asyncDispose]())

  const start = (on: Machine, role: string, port: number): Promise<Process> => startAs(on, appUid, role, port)

  async function startAs(on: Machine, uid: number, role: string, port: number): Promise<Process> {
    const server = on.node(tool, [role, String(port)], { uid })
    await server.line(/^ready/)
    return server
  }

  /** A Service outside the mesh, its endpoints on `node`. */
  function service(name: string, portName: string, port: number, dialled: number, ips: typeof dns): string {
    const slices = families.map((family) => {
      const type = family === 'ipv4' ? 'IPv4' : 'IPv6'
      return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}-${family}, namespace: default, labels: { kubernetes.io/service-name: ${name} } }
addressType: ${type}
ports: [{ name: ${portName}, port: ${dialled} }]
endpoints: [{ addresses: ["${node.address(family)}"] }]
`
    })
    const spec = `{ clusterIP: "${ips.ipv4}", clusterIPs: ["${ips.ipv4}", "${ips.ipv6}"], ports: [{ name: ${portName}, port: ${port} }] }`
    return [
      `apiVersion: v1\nkind: Service\nmetadata: { name: ${name}, namespace: default }\nspec: ${spec}\n`,
      ...slices,
    ].join('---\n')
  }

  async function dial(from: Machine, address: string, port: number, text: string) {
    const said = await from.node(tool, ['dial', address, String(port), text]).done()
    return JSON.parse(said) as { reply: string; error?: string }
  }

  async function get(from: Machine, url: string) {
    const said = await from.node(tool, ['get', url], { uid: appUid }).done()
    return JSON.parse(said) as { status: number; reply: string; error?: string }
  }

  for (const family of families) {
    const of = (ips: typeof dns): string => ips[family]

    test(`${family}: the kubelet's probes reach the application, which STRICT keeps from everyone else`, async () => {
      const at = host(web.address(family))
      assert.equal((await get(node, `http://${at}:8080/ready`)).error, 'ECONNRESET')
      const ready = await get(node, `http://${at}:15020/app-health/web/readyz`)
      assert.deepEqual([ready.status, ready.reply], [200, 'the application answered 200\n'])
      await app.line(/"url":"\/ready"/)
      assert.equal((await get(node, `http://${at}:15020/app-health/web/livez`)).status, 200)
      const none = await get(node, `http://${at}:15020/app-health/web/startupz`)
      assert.deepEqual([none.status, none.reply], [503, `nothing listens on ${web.address(family)}:9999\n`])
      assert.equal((await get(node, `http://${at}:15021/healthz/ready`)).status, 200)
      assert.equal((await get(node, `http://${at}:15020/metrics`)).status, 200)
    })

    test(`${family}: TLS of the application's own to the API server is relayed, as is DNS over TCP`, async () => {
      assert.equal((await dial(web, of(apiServer), 443, tlsBytes)).reply, `echo:${tlsBytes}`)
      assert.equal((await dial(web, of(dns), 53, '\x01\x1dquestion')).reply, 'echo:\x01\x1dquestion')
    })

    test(`${family}: what no Service names is refused, at once`, async () => {
      const { reply, error } = await dial(web, node.address(family), 9000, '\x01out')
      assert.deepEqual([reply, error], ['', 'ECONNRESET'])
    })

    test(`${family}: DNS over UDP is left alone`, async () => {
      const said = await web.node(tool, ['udp', node.address(family), '53', 'question']).done()
      assert.equal(JSON.parse(said).reply, 'echo:question')
    })

    test(`${family}: a call within the Pod is left alone, by loopback and by its own address`, async () => {
      const loopback = family === 'ipv4' ? '127.0.0.1' : '::1'
      for (const address of [loopback, web.address(family)])
        assert.equal((await dial(web, address, 9000, '\x01within')).reply, 'echo:\x01within')
    })
  }

  test('quitquitquit is for the Pod alone, and ends its sidecar', async () => {
    const ask = (from: Machine, address: string) =>
      from.node(tool, ['get', `http://${address}:15020/quitquitquit`, 'now'], { uid: appUid }).done()
    assert.equal(JSON.parse(await ask(node, web.v4)).status, 403)
    assert.equal(JSON.parse(await ask(web, '127.0.0.1')).status, 200)
    const deadline = performance.now() + 10_000
    let error: string | undefined
    while (error !== 'ECONNREFUSED' && performance.now() < deadline)
      ({ error } = await get(web, 'http://127.0.0.1:15021/healthz/live'))
    assert.equal(error, 'ECONNREFUSED')
  })
})
