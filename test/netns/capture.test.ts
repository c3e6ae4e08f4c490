import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { appUid, type Machine, type Mesh, mesh, proxyUid, root } from './mesh.ts'
import type { Process } from './process.ts'

const tool = 'test/netns/tool.ts'
const families = ['ipv4', 'ipv6'] as const

interface Reply {
  readonly reply: string
  readonly ended: boolean
  readonly error?: string
  readonly firstByteMs: number
}

async function dial(from: Machine, address: string, port: number, text?: string, uid: number = appUid): Promise<Reply> {
  const args = ['dial', address, String(port), ...(text === undefined ? [] : [text])]
  return JSON.parse(await from.node(tool, args, { uid }).done())
}

async function serve(on: Machine, role: 'echo' | 'banner', port: number): Promise<Process> {
  const server = on.node(tool, [role, String(port)])
  await server.line(/^ready/)
  return server
}

async function proxy(on: Machine, uid = proxyUid): Promise<Process> {
  const started = on.node('test/netns/relay-proxy.ts', [], { uid })
  await started.line(/^ready/)
  return started
}

describe('redirect capture', () => {
  let net: Mesh
  /** Two machines with the rules and a proxy, and one without either. */
  let left: Machine
  let right: Machine
  let outside: Machine
  let leftProxy: Process
  let rightProxy: Process
  let echo: Process

  before(async () => {
    net = mesh()
    left = net.machine('left')
    right = net.machine('right')
    outside = net.machine('outside')
    for (const machine of [left, right]) machine.capture('--apply')
    ;[leftProxy, rightProxy, echo] = await Promise.all([
      proxy(left),
      proxy(right),
      serve(right, 'echo', 8080),
      serve(outside, 'echo', 8080),
    ])
  })
  after(() => net?.[Symbol.asyncDispose]())

  for (const family of families) {
    describe(family, () => {
      test('outbound and inbound: both proxies see the original destination, and the bytes arrive', async () => {
        const to = right.address(family)
        const { reply, ended } = await dial(left, to, 8080, `both-${family}`)
        assert.deepEqual([reply, ended], [`echo:both-${family}`, true])
        const bytes = `both-${family}`.length
        const seen = { to: `${to} 8080`, protocol: 'opaque', end: 'closed', bytesAToB: bytes, bytesBToA: bytes + 5 }
        assert.deepEqual(JSON.parse(await leftProxy.line(new RegExp(`outbound.*${to} 8080`))), {
          name: 'outbound',
          ...seen,
        })
        assert.deepEqual(JSON.parse(await rightProxy.line(new RegExp(`inbound.*${to} 8080.*"bytesAToB":${bytes},`))), {
          name: 'inbound',
          ...seen,
        })
      })

      test('inbound from a machine that has no proxy; the app sees the delivery address', async () => {
        const { reply } = await dial(outside, right.address(family), 8080, `inbound-${family}`)
        assert.equal(reply, `echo:inbound-${family}`)
        const { from } = JSON.parse(await echo.line(new RegExp(`inbound-${family}`)))
        assert.equal(from, family === 'ipv4' ? '::ffff:127.0.0.6' : '::6')
      })

      test('outbound to a machine that has no proxy', async () => {
        const { reply } = await dial(left, outside.address(family), 8080, `outbound-${family}`)
        assert.equal(reply, `echo:outbound-${family}`)
        await leftProxy.line(new RegExp(`outbound.*${outside.address(family)} 8080`))
      })

      test('a server that speaks first is heard after the detect timeout of each proxy', async () => {
        const port = family === 'ipv4' ? 2501 : 2502
        const banner = await serve(right, 'banner', port)
        const { reply, firstByteMs } = await dial(left, right.address(family), port)
        assert.equal(reply, '220 banner first\r\nafter:thanks')
        assert.ok(firstByteMs >= 390 && firstByteMs < 2_000, `${firstByteMs} ms`)
        await banner.kill()
      })

      test('HTTP is known by its first bytes', async () => {
        await dial(left, right.address(family), 8080, `GET /${family} HTTP/1.1\r\n\r\n`)
        assert.equal(
          JSON.parse(await rightProxy.line(new RegExp(`${right.address(family)} 8080.*http1`))).protocol,
          'http1',
        )
      })

      test('a dead upstream: the client gets a reset, as if it were told directly', async () => {
        const { reply, ended, error } = await dial(left, right.address(family), 8099, 'anybody?')
        assert.deepEqual([reply, ended, error], ['', false, 'ECONNRESET'])
        assert.equal(
          JSON.parse(await rightProxy.line(new RegExp(`${right.address(family)} 8099`))).code,
          'ECONNREFUSED',
        )
        assert.equal(JSON.parse(await leftProxy.line(new RegExp(`${right.address(family)} 8099`))).code, 'ECONNRESET')
      })

      test('what the proxy user sends is not captured', async () => {
        const port = family === 'ipv4' ? 7001 : 7002
        const server = await serve(outside, 'echo', port)
        const { reply } = await dial(left, outside.address(family), port, 'mine', proxyUid)
        assert.equal(reply, 'echo:mine')
        assert.doesNotMatch(leftProxy.said, new RegExp(` ${port}"`))
        await server.kill()
      })

      test('a call within the machine is left alone, by loopback and by its own address', async () => {
        for (const address of [right.address(family), family === 'ipv4' ? '127.0.0.1' : '::1']) {
          const { reply } = await dial(right, address, 8080, `self-${address}`)
          assert.equal(reply, `echo:self-${address}`)
          const { from } = JSON.parse(await echo.line(new RegExp(`self-${address}`)))
          assert.equal(from.replace('::ffff:', ''), address, 'not by way of the proxy')
        }
      })

      test('the proxy that dials its own address is served as inbound, once', async () => {
        const { reply } = await dial(right, right.address(family), 8080, `own-service-${family}`, proxyUid)
        assert.equal(reply, `echo:own-service-${family}`)
        const bytes = `own-service-${family}`.length
        assert.match(await rightProxy.line(new RegExp(`inbound.*"bytesAToB":${bytes},`)), /"end":"closed"/)
        const { from } = JSON.parse(await echo.line(new RegExp(`own-service-${family}`)))
        assert.equal(from, family === 'ipv4' ? '::ffff:127.0.0.6' : '::6')
      })

      for (const [port, name] of [
        [15006, 'from outside'],
        [15001, 'from outside'],
        [15006, 'from the app'],
        [15001, 'from the app'],
      ] as const) {
        test(`loop guard: port ${port} dialled directly ${name} is dropped, with no second hop`, async () => {
          const from = name === 'from outside' ? outside : right
          const before = rightProxy.said.split('\n').length
          const { reply, error } = await dial(from, right.address(family), port, 'loop?')
          assert.deepEqual([reply, error], ['', 'ECONNRESET'])
          await rightProxy.line(/"loop"/)
          const lines = rightProxy.said.split('\n').slice(before)
          assert.deepEqual(
            lines.map((line) => typeof JSON.parse(line).loop),
            ['string'],
            lines.join('\n'),
          )
        })
      }
    })
  }

  test('the ports of health and metrics are reachable without the proxy', async () => {
    const server = await serve(right, 'echo', 15021)
    assert.equal((await dial(outside, right.v4, 15021, 'healthy?')).reply, 'echo:healthy?')
    assert.equal((await dial(outside, right.v6, 15021, 'healthy?')).reply, 'echo:healthy?')
    assert.doesNotMatch(rightProxy.said, / 15021"/)
    await server.kill()
  })
})

test('a proxy under the wrong user captures itself: the loop guard ends it at the first hop', async () => {
  await using net = mesh()
  const left = net.machine('left')
  const outside = net.machine('outside')
  left.capture('--apply')
  await serve(outside, 'echo', 8080)
  const wrong = await proxy(left, 1400)
  for (const family of families) {
    const { reply, error } = await dial(left, outside.address(family), 8080, 'round and round')
    assert.deepEqual([reply, error], ['', 'ECONNRESET'])
  }
  const loops = wrong.said.split('\n').filter((line) => line.includes('own-socket'))
  assert.equal(loops.length, 2, wrong.said)
})

test('what is excluded is not captured, and what is not included neither', async () => {
  await using net = mesh()
  const left = net.machine('left')
  const right = net.machine('right')
  const other = net.machine('other')
  left.capture('--apply', '--exclude-outbound-ports', '8081', '--exclude-outbound-cidrs', `${other.v4},${other.v6}/128`)
  right.capture('--apply', '--include-inbound-ports', '8080', '--include-outbound-cidrs', `${left.v4}/32,${left.v6}`)
  const [leftProxy, rightProxy] = await Promise.all([
    proxy(left),
    proxy(right),
    ...[left, right, other].flatMap((machine) => [serve(machine, 'echo', 8080), serve(machine, 'echo', 8081)]),
  ])
  for (const family of families) {
    assert.equal((await dial(left, right.address(family), 8081, 'port')).reply, 'echo:port')
    assert.equal((await dial(left, other.address(family), 8080, 'cidr')).reply, 'echo:cidr')
    assert.equal((await dial(left, right.address(family), 8080, 'both')).reply, 'echo:both')
    assert.equal((await dial(right, other.address(family), 8080, 'not included')).reply, 'echo:not included')
    assert.equal((await dial(right, left.address(family), 8081, 'included')).reply, 'echo:included')
  }
  const seen = (one: Process) =>
    one.said
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .map(({ name, to }) => `${name} ${to}`)
      .sort()
  const each = (name: string, machine: Machine, port: number) =>
    families.map((family) => `${name} ${machine.address(family)} ${port}`)
  assert.deepEqual(seen(leftProxy!), [...each('inbound', left, 8081), ...each('outbound', right, 8080)].sort())
  assert.deepEqual(seen(rightProxy!), [...each('inbound', right, 8080), ...each('outbound', left, 8081)].sort())
})

test('apply is idempotent, replaces, and remove restores what stood before', async () => {
  await using net = mesh()
  const machine = net.machine('one')
  const stands = () =>
    ['iptables-save', 'ip6tables-save'].map((save) =>
      machine
        .run(save, '-t', 'nat')
        .split('\n')
        .filter((line) => /^[-:](A )?(?!#)/.test(line))
        .map((line) => line.replace(/\[.*\]/, ''))
        .join('\n'),
    )
  machine.run('iptables', '-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '1', '-j', 'RETURN')
  machine.run('ip6tables', '-t', 'nat', '-N', 'STRANGER')
  const addresses = () => machine.run('ip', '-6', 'address', 'show', 'dev', 'lo')
  const before = stands()
  const addressesBefore = addresses()
  machine.capture('--apply')
  const once = stands()
  assert.notDeepEqual(once, before)
  machine.capture('--apply')
  assert.deepEqual(stands(), once)
  machine.capture('--apply', '--exclude-outbound-ports', '25', '--outbound-port', '4140')
  for (const text of stands()) assert.match(text, /--dport 25 .*--to-ports 4140/s)
  machine.capture('--apply')
  assert.deepEqual(stands(), once, 'in any order: the last word counts')
  machine.capture('--remove')
  assert.deepEqual(stands(), before)
  assert.equal(addresses(), addressesBefore)
  machine.capture('--remove')
  assert.deepEqual(stands(), before)
})

test('an init container: root with two capabilities, a root filesystem that is read-only, either kind of iptables', async () => {
  await using net = mesh()
  for (const kind of ['nft', 'legacy']) {
    const machine = net.machine(kind)
    // As the image chooses: by the names that come first.
    const bin = net.privateFolder(`bin-${kind}`, 0)
    for (const name of ['iptables-save', 'iptables-restore', 'ip6tables-save', 'ip6tables-restore'])
      symlinkSync(`/usr/sbin/${name.replace('tables-', `tables-${kind}-`)}`, join(bin, name))
    const inside = `
      mount --make-rprivate / && mount -t tmpfs -o ro tmpfs /run && mount -o remount,bind,ro / || exit 90
      PATH=${bin}:$PATH exec setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all --no-new-privs "$0" "$@"`
    const main = join(root, 'src/cli/main.ts')
    const capture = (action: string) =>
      machine.run('unshare', '--mount', 'sh', '-c', inside, process.execPath, main, 'proxy', 'capture', action)
    const rules = () => machine.run(`iptables-${kind}-save`, '-t', 'nat')
    capture('--apply')
    assert.match(rules(), /-A OUTPUT -p tcp -j OUTRIGGER_OUTPUT/)
    // Once more, as when a container of the Pod is restarted.
    const first = rules().replaceAll(/^#.*$/gm, '')
    capture('--apply')
    assert.equal(rules().replaceAll(/^#.*$/gm, ''), first)
    capture('--remove')
    assert.doesNotMatch(rules(), /OUTRIGGER/)
  }
})

test('a Pod without IPv6 but for loopback, or with IPv6 switched off, is captured for IPv4 alone', async () => {
  await using net = mesh()
  for (const [name, off] of [
    ['single', 'eth0'],
    ['none', 'all'],
  ] as const) {
    const machine = net.machine(name)
    machine.run('sysctl', '-q', '-w', `net.ipv6.conf.${off}.disable_ipv6=1`)
    assert.equal(machine.run('cat', '/proc/net/if_inet6').includes('eth0'), false)
    machine.capture('--apply')
    assert.match(machine.run('iptables-save', '-t', 'nat'), /OUTRIGGER_OUTPUT/)
    assert.doesNotMatch(machine.run('ip6tables-save', '-t', 'nat'), /OUTRIGGER/)
  }
})

test('the printed script does what --apply does', async () => {
  await using net = mesh()
  const machine = net.machine('one')
  const script = machine.capture('--print')
  machine.run('sh', '-c', script)
  const printed = machine.run('iptables-save', '-t', 'nat') + machine.run('ip6tables-save', '-t', 'nat')
  machine.capture('--apply')
  const applied = machine.run('iptables-save', '-t', 'nat') + machine.run('ip6tables-save', '-t', 'nat')
  const plain = (text: string) => text.replaceAll(/^#.*\n|\[.*\]/gm, '')
  assert.equal(plain(printed), plain(applied))
})

test('without NET_ADMIN: one line, the remedy, exit 1, and nothing changed', async () => {
  await using net = mesh()
  const machine = net.machine('one')
  await assert.rejects(machine.outrigger(['proxy', 'capture', '--apply'], { uid: appUid }).done(), {
    message:
      /exit 1\noutrigger: no permission to change iptables rules: run as root with the capability NET_ADMIN .*or use explicit capture$/,
  })
  assert.doesNotMatch(machine.run('iptables-save', '-t', 'nat'), /OUTRIGGER/)
})

test('without iptables: one line that names the package', async () => {
  await using net = mesh()
  const machine = net.machine('one')
  const hidden = 'mount -t tmpfs none /usr/sbin && mount -t tmpfs none /sbin; exec "$@"'
  const command = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    `${root}/src/cli/main.ts`,
    'proxy',
    'capture',
    '--apply',
  ]
  const bare = machine.start('bare', ['unshare', '--mount', 'sh', '-c', hidden, 'sh', ...command])
  await assert.rejects(bare.done(), {
    message: /exit 1\noutrigger: iptables-save is not installed here: install the package iptables in this image$/,
  })
})
