/** Who comes in, who does not, what is seen on the wire, and which Pods get a sidecar. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { inPod, inSystem, marks } from '../../src/base/kubernetes-names.ts'
import { silentLog } from '../../src/base/log.ts'
import { WorkloadCertificate } from '../../src/identity/certificate.ts'
import { Packets } from '../netns/packets.ts'
import { Process } from '../netns/process.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { shop as shopImage } from './images.ts'
import { installMesh } from './mesh.ts'
import type { Namespace } from './namespace.ts'
import { Shop } from './shop.ts'
import { runFolder } from './state.ts'
import { until } from './until.ts'

const limit = { timeout: 3 * 60_000 }
const fetchText = (url: string, headers: object = {}) =>
  `fetch(${JSON.stringify(url)}, { headers: ${JSON.stringify(headers)} }).then(async (r) => console.log(r.status, await r.text()), (e) => console.log(e.cause?.code ?? e.message))`

const running = new AsyncDisposableStack()
let cluster: Cluster
let theShop: Shop
let shop: Namespace
let outside: Namespace

before(async () => {
  cluster = running.use(await openCluster())
  running.use(await installMesh(cluster))
  theShop = running.use(await Shop.open(cluster))
  shop = theShop.namespace
  outside = await cluster.namespace('outside')
  await outside.idlePod('stranger')
}, limit)
after(() => running.disposeAsync(), limit)
afterEach((test) => cluster.explain(test, 'shop', inSystem.namespace))

const ask = (namespace: Namespace, target: string, url: string, headers?: object): Promise<string> =>
  namespace.exec(target, ['node', '-e', fetchText(url, headers)])

describe('between Pods', () => {
  test('every connection is TLS 1.3, and nothing of what is said can be read', limit, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'outrigger-wire-'))
    try {
      const file = path.join(folder, 'wire.pcap')
      const [inventory] = await shop.pods('app=inventory,version=v1')
      const address = await shop.podAddress(inventory!)
      const init = readFileSync(path.join(runFolder, 'init.pid'), 'utf8').split(' ')[0]!
      // The bridge that all Pods are on, promiscuous: what passes from Pod to Pod passes here.
      const tcpdump = new Process(
        'tcpdump',
        'nsenter',
        ['--target', init, '--net', 'tcpdump', '-i', 'cni0', '-U', '-n', '-w', file, 'tcp'],
        { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
      )
      await tcpdump.error(/listening on/)
      // In a header: a path may stand in spans, which sidecars send to a collector in plaintext.
      const marker = 'what-nobody-may-read'
      const sentinel = `sentinel-${crypto.randomUUID()}`
      for (let i = 0; i < 5; i++) {
        const said = await ask(shop, 'deployment/client', 'http://inventory-v1:8080/stock/anchor', {
          'x-marker': marker,
        })
        assert.match(said, /^200 /)
      }
      const answered = await ask(outside, 'pod/stranger', `http://${address}:15021/${sentinel}`)
      assert.match(answered, /^404 /)
      const packets = new Packets(tcpdump, file, () => Buffer.from(sentinel))
      assert.equal(await packets.contain(marker), false, 'the marker can be read')
      const hellos = await packets.fields(
        `tls.handshake.type == 2 && ip.src == ${address}`,
        ['tls.handshake.extensions.supported_version'],
        ['-d', 'tcp.port==8080,tls'],
      )
      assert.ok(hellos.length > 0, 'no ServerHello was seen')
      assert.deepEqual([...new Set(hellos.flat())], ['0x0304'])
      const plain = await packets.fields(`tcp.dstport == 8080 && ip.dst == ${address} && http.request`, [
        'http.request.uri',
      ])
      assert.deepEqual(plain, [], 'a request could be read')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('STRICT refuses a Pod without a sidecar, PERMISSIVE serves it', limit, async () => {
    const url = 'http://inventory-v1.shop:8080/stock/anchor'
    assert.match(await ask(outside, 'pod/stranger', url), /^(ECONNRESET|UND_ERR_SOCKET)/)
    // The identity rules are not what refuses here.
    await shop.kubectl(['delete', 'authorizationpolicies.outrigger.dev', '--all'])
    assert.match(await ask(outside, 'pod/stranger', url), /^(ECONNRESET|UND_ERR_SOCKET)/)
    await shop.apply({
      apiVersion: 'outrigger.dev/v1alpha1',
      kind: 'PeerAuthentication',
      metadata: { name: 'default', namespace: 'shop' },
      spec: { mtls: { mode: 'PERMISSIVE' } },
    })
    await until(async () => assert.match(await ask(outside, 'pod/stranger', url), /^200 /))
    assert.match(await ask(shop, 'deployment/client', 'http://inventory-v1:8080/stock/anchor'), /^200 /)
    await theShop.policies()
    await until(async () => assert.match(await ask(outside, 'pod/stranger', url), /^(ECONNRESET|UND_ERR_SOCKET)/))
  })

  test('identity decides: web may not call inventory, and is told which policy it was', limit, async () => {
    const program = `fetch('http://inventory:8080/stock/anchor').then((r) => console.log(r.status, r.headers.get('x-outrigger-reason')))`
    const said = await shop.exec('deployment/web', ['node', '-e', program])
    assert.match(said, /^403 DENIED; policy=AuthorizationPolicy\/shop\/inventory-callers; version=/)
  })
})

describe('tokens', () => {
  test('one of another audience, of another cluster or expired is refused; a right one is not', limit, async () => {
    const rootPem = (await shop.get('configmap', inSystem.rootConfigMap)).data['root.pem'] as string
    const controlPlane = `${await cluster.existing(inSystem.namespace).serviceAddress(inSystem.name)}:15012`
    const made = (...args: string[]): Promise<string> =>
      shop.kubectl(['create', 'token', 'web', ...args]).then((text) => text.trim())
    const right = await made(`--audience=${inSystem.tokenAudience}`)
    const [head, claims, signature] = right.split('.') as [string, string, string]
    const flipped = `${signature.slice(0, 10)}${signature[10] === 'A' ? 'B' : 'A'}${signature.slice(11)}`
    const stale = JSON.parse(Buffer.from(claims, 'base64url').toString()) as object
    const cases: [what: string, token: string, says: RegExp][] = [
      ['the API server’s own audience', await made(), /the token is for https:.*, not for outrigger/],
      ['another audience', await made('--audience=somebody'), /the token is for somebody, not for outrigger/],
      ['of another cluster', `${head}.${claims}.${flipped}`, /the API server does not know the token/],
      [
        'expired',
        `${head}.${Buffer.from(JSON.stringify({ ...stale, exp: 1_600_000_000 })).toString('base64url')}.${signature}`,
        /the token expired at 2020-/,
      ],
    ]
    for (const [what, token, says] of cases) {
      const failure = await enrol(controlPlane, rootPem, token)
      assert.match(failure ?? 'it was accepted', says, what)
    }
    assert.equal(await enrol(controlPlane, rootPem, right), undefined)
    const log = await cluster.existing(inSystem.namespace).logs(`deployment/${inSystem.name}`)
    for (const [, token] of cases) assert.equal(log.includes(token.slice(-40)), false, 'no secret in the log')
  })
})

describe('injection', () => {
  let mine: Namespace
  before(async () => {
    mine = await cluster.namespace('injected', { [marks.inject]: 'enabled' })
  })

  const podOf = (name: string, spec: object = {}, metadata: object = {}): object => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'app', image: shopImage, command: ['node', '-e', 'setInterval(() => {}, 1e9)'] }],
      ...spec,
    },
  })
  const sidecarsOf = async (where: Namespace, pod: string): Promise<string[]> =>
    ((await where.get('pod', pod)).spec.initContainers ?? []).map(({ name }: { name: string }) => name)

  test('label of the Namespace, and the Pod’s own, which wins', limit, async () => {
    await mine.apply(podOf('plain'))
    assert.deepEqual(await sidecarsOf(mine, 'plain'), [inPod.initContainer, inPod.proxyContainer])
    await mine.apply(podOf('not-me', {}, { labels: { [marks.inject]: 'false' } }))
    assert.deepEqual(await sidecarsOf(mine, 'not-me'), [])
    await outside.apply(podOf('me-too', {}, { labels: { [marks.inject]: 'true' } }))
    assert.deepEqual(await sidecarsOf(outside, 'me-too'), [inPod.initContainer, inPod.proxyContainer])
    assert.deepEqual(await sidecarsOf(outside, 'stranger'), [])
    await mine.wait('pod/plain', 'Ready')
    await outside.wait('pod/me-too', 'Ready')
  })

  test('a Pod on the node’s network is left alone, and an event says why', limit, async () => {
    await mine.apply(podOf('on-the-host', { hostNetwork: true }))
    assert.deepEqual(await sidecarsOf(mine, 'on-the-host'), [])
    await until(async () => {
      const { items } = await mine.get('events')
      const said = items.map(({ message }: { message: string }) => message).join('\n')
      assert.match(said, /hostNetwork/)
    })
  })

  test(
    'a Pod whose application is user 1337, or with a wrong annotation, is refused with the reason',
    limit,
    async () => {
      const asProxy = await mine.attempt(['apply', '-f', '-'], {
        stdin: JSON.stringify(podOf('as-proxy', { securityContext: { runAsUser: inPod.proxyUid } })),
      })
      assert.notEqual(asProxy.status, 0)
      assert.match(asProxy.stderr, /runs as user or group 1337, whose traffic is not captured/)
      const annotations = { [`${marks.proxy}cpu`]: 'lots' }
      const wrong = await mine.attempt(['apply', '-f', '-'], {
        stdin: JSON.stringify(podOf('wrong', {}, { annotations })),
      })
      assert.notEqual(wrong.status, 0)
      assert.match(wrong.stderr, /annotation proxy\.outrigger\.dev\/cpu: "lots"/)
    },
  )

  test(
    'under Pod Security "restricted" with interceptionMode NONE it serves what the application calls',
    limit,
    async () => {
      const tight = await cluster.namespace('restricted', {
        [marks.inject]: 'enabled',
        'pod-security.kubernetes.io/enforce': 'restricted',
      })
      const securityContext = {
        runAsNonRoot: true,
        runAsUser: 1000,
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      }
      const containers = [
        { name: 'app', image: shopImage, command: ['node', '-e', 'setInterval(() => {}, 1e9)'], securityContext },
      ]
      const refused = await tight.attempt(['apply', '-f', '-'], {
        stdin: JSON.stringify(podOf('captured', { containers })),
      })
      assert.match(refused.stderr, /violates PodSecurity "restricted/)
      await tight.apply(
        podOf('explicit', { containers }, { annotations: { [`${marks.proxy}interceptionMode`]: 'NONE' } }),
      )
      await tight.wait('pod/explicit', 'Ready')
      const url = 'http://web.shop:8080/'
      const program = `require('node:http').get(${JSON.stringify(url)}, (r) => { r.resume(); console.log(r.statusCode, r.headers['x-served-by']) })`
      const said = await tight.exec('pod/explicit', ['node', '--use-env-proxy', '-e', program], { container: 'app' })
      assert.match(said, /^200 web-v1, orders-v1, inventory/)
    },
  )

  test('probes reach the application under STRICT, and tell when it is ill', limit, async () => {
    const spec = (await shop.get('deployment', 'web')).spec.template.spec
    assert.equal(spec.containers[0].readinessProbe.httpGet.port, 'http', 'the Deployment says what its author wrote')
    const [pod] = await shop.pods('app=web')
    const [app] = (await shop.get('pod', pod!)).spec.containers
    assert.deepEqual(
      [app.readinessProbe.httpGet.path, app.readinessProbe.httpGet.port],
      ['/app-health/web/readyz', 15_020],
    )
    await shop.wait(`pod/${pod}`, 'Ready')
    // The kubelet is not in the mesh: without the rewriting STRICT would keep it out.
    const kubelet = await ask(outside, 'pod/stranger', `http://${await shop.podAddress(pod!)}:8080/_counts`)
    assert.match(kubelet, /^(ECONNRESET|UND_ERR_SOCKET)/)
    await mine.apply(
      podOf('ill', {
        containers: [
          {
            name: 'app',
            image: shopImage,
            command: [
              'node',
              '-e',
              'require("node:http").createServer((q, r) => r.writeHead(q.url === "/ready" ? 503 : 200).end()).listen(8080)',
            ],
            readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 },
          },
        ],
      }),
    )
    await until(async () => {
      const { items } = await mine.get('events', '--field-selector', 'involvedObject.name=ill')
      assert.ok(
        items.some(
          ({ reason, message }: { reason: string; message: string }) => reason === 'Unhealthy' && /503/.test(message),
        ),
      )
    }, 60_000)
  })

  test(
    'with no control plane left a Pod that is to be meshed is refused (failurePolicy Fail), and traffic goes on',
    limit,
    async () => {
      const system = cluster.existing(inSystem.namespace)
      // A Service that was never called before is unknown while nobody can be asked.
      assert.match(await ask(shop, 'deployment/client', 'http://web:8080/'), /^200 /)
      await system.kubectl(['scale', `deployment/${inSystem.name}`, '--replicas=0'])
      await system.kubectl(['wait', 'pod', '--all', '--for=delete', '--timeout=60s'], { timeoutMs: 65_000 })
      const refused = await mine.attempt(['apply', '-f', '-'], { stdin: JSON.stringify(podOf('too-early')) })
      assert.notEqual(refused.status, 0)
      assert.match(refused.stderr, /failed calling webhook/)
      await outside.apply(podOf('not-meant'))
      assert.match(await ask(shop, 'deployment/client', 'http://web:8080/'), /^200 /)
      await system.kubectl(['scale', `deployment/${inSystem.name}`, '--replicas=1'])
      await system.rollout(`deployment/${inSystem.name}`)
      await until(() => mine.apply(podOf('in-time')))
      await mine.wait('pod/in-time', 'Ready')
    },
  )
})

/** What a sidecar is told that shows this token; undefined: it has its certificate. */
async function enrol(controlPlane: string, rootPem: string, token: string): Promise<string | undefined> {
  const certificate = new WorkloadCertificate({
    clock: systemClock,
    log: silentLog,
    controlPlane,
    rootPem,
    token: () => Promise.resolve(token),
    namespace: 'shop',
    serviceAccount: undefined,
    state: undefined,
  })
  try {
    await certificate.start()
    return await until(async () => {
      const status = certificate.status()
      if (status.is !== 'waiting') return undefined
      assert.ok(status.failure)
      return status.failure
    }, 10_000)
  } finally {
    certificate.close()
  }
}
