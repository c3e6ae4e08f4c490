/**
 * Databases and mail through two sidecars with mTLS between them: servers that speak first, connections that stay, TLS that
 * begins in the middle. Each server on a port that is declared opaque and on one that is not, where both sidecars have to
 * find out that nobody is going to speak.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { eventually } from '../support/control.ts'
import { Mesh } from '../support/mesh.ts'
import { openClient } from '../support/upstream.ts'
import { RealServer, type RealServerName } from './real-servers.ts'

const run = promisify(execFile)
const names: readonly RealServerName[] = ['mariadb', 'postgresql', 'redis', 'exim']
/** Port names: one that declares TCP, and one that says nothing. */
const ports = { declared: 'tcp', undeclared: 'any' } as const
type Kind = keyof typeof ports
const kinds = Object.keys(ports) as Kind[]

// With an AuthorizationPolicy the sidecar of the server looks at first bytes, too.
const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: strict, namespace: test }
spec: { mtls: { mode: STRICT } }
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: from-here, namespace: test }
spec: { rules: [{ from: [{ namespaces: [test] }] }] }
`

describe('real servers', { timeout: 300_000 }, () => {
  const servers = new Map<RealServerName, RealServer>()
  let mesh: Mesh
  before(async () => {
    for (const server of await Promise.all(names.map((name) => RealServer.start(name))))
      servers.set(server.name, server)
    const services = names.flatMap((name) =>
      kinds.map((kind) => ({ name: `${name}-${kind}`, kind, server: servers.get(name)! })),
    )
    const local = services.map(({ name }) => `127.0.0.1:0=${name}:8080`).join(',')
    mesh = await Mesh.start({
      workloads: [
        { name: 'client', env: { OUTRIGGER_UPSTREAM: local } },
        ...services.map(({ name, kind, server }) => ({ name, portName: ports[kind], runsAt: server.port })),
      ],
      policies,
    })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    for (const server of servers.values()) await server[Symbol.asyncDispose]()
  })

  /** The client's local port for a server. */
  const portOf = (name: RealServerName, kind: Kind): number => {
    const at = names.indexOf(name) * kinds.length + kinds.indexOf(kind)
    return mesh.get('client').running.addresses.get(`upstream${at}`)!.port
  }

  /** Output of a client program; it fails if the program does. */
  const said = async (program: string, args: readonly string[], input = ''): Promise<string> => {
    const running = run(program, args, { maxBuffer: 64 * 1024 * 1024, timeout: 30_000 })
    running.child.stdin?.end(input)
    return (await running).stdout
  }

  for (const kind of kinds) {
    describe(`${kind} port`, () => {
      const mariadb = (statement: string, ...more: string[]): Promise<string> => {
        const to = ['--no-defaults', '-h', '127.0.0.1', '-P', String(portOf('mariadb', kind)), '-u', 'root']
        return said('mariadb', [...to, '--protocol=tcp', '--max-allowed-packet=64M', '-N', ...more, '-e', statement])
      }
      it('MariaDB: queries, several at once, results of 4 MB, and TLS after the greeting', async () => {
        assert.equal(await mariadb('select 6 * 7; select "two"'), '42\ntwo\n')
        const large = await mariadb('select repeat("0123456789", 400000)')
        assert.equal(large.length, 4_000_001)
        assert.ok(large.startsWith('0123456789') && large.endsWith('6789\n'))
        const secured = await mariadb('show status like "Ssl_cipher"', '--ssl')
        assert.match(secured, /^Ssl_cipher\tTLS_/)
      })

      const psqlAt = (secured: boolean): string[] => {
        const to = `host=127.0.0.1 port=${portOf('postgresql', kind)} user=postgres sslmode=${secured ? 'require' : 'disable'}`
        return [to, '-X', '-A', '-t', '-q']
      }
      const psql = (secured: boolean, ...statements: string[]): Promise<string> =>
        said('psql', [...psqlAt(secured), ...statements.flatMap((statement) => ['-c', statement])])
      it('PostgreSQL: queries, results of 4 MB, and TLS after the question for it', async () => {
        for (const secured of [false, true]) {
          assert.equal(await psql(secured, 'select 6 * 7', "select 'two'"), '42\ntwo\n')
          const large = await psql(secured, "select repeat('0123456789', 20) from generate_series(1, 20000)")
          assert.equal(large.length, 4_020_000)
          const isSecured = await psql(secured, 'select ssl from pg_stat_ssl where pid = pg_backend_pid()')
          assert.equal(isSecured, secured ? 't\n' : 'f\n')
        }
      })

      it('PostgreSQL: a listener that stays hears of what others say', async () => {
        const channel = `news_${kind}`
        await using listener = program('psql', psqlAt(true))
        listener.say(`listen ${channel};\n\\echo listening\n`)
        await listener.heard(/listening/)
        await psql(false, `notify ${channel}, 'first'`)
        // psql tells of notifications behind its next statement.
        listener.say('select 1;\n')
        await listener.heard(new RegExp(`notification "${channel}" with payload "first"`))
      })

      const redisAt = (): string[] => ['-h', '127.0.0.1', '-p', String(portOf('redis', kind))]
      it('Redis: commands, 20,000 of them pipelined, and a value of 4 MB both ways', async () => {
        assert.equal(await said('redis-cli', [...redisAt(), 'set', kind, '42']), 'OK\n')
        const many = Array.from({ length: 20_000 }, (_, i) => `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n${10_000 + i}\r\n`)
        assert.match(await said('redis-cli', [...redisAt(), '--pipe'], many.join('')), /errors: 0, replies: 20000/)
        assert.equal(await said('redis-cli', [...redisAt(), 'get', 'k']), '29999\n')
        const large = '0123456789'.repeat(400_000)
        assert.equal(await said('redis-cli', [...redisAt(), '-x', 'set', 'large'], large), 'OK\n')
        assert.equal(await said('redis-cli', [...redisAt(), 'get', 'large']), `${large}\n`)
      })

      it('Redis: a subscriber that stays hears of what others say', async () => {
        await using subscriber = program('redis-cli', [...redisAt(), 'subscribe', kind])
        await subscriber.heard(/subscribe/)
        for (const text of ['first', 'second']) {
          assert.equal(await said('redis-cli', [...redisAt(), 'publish', kind, text]), '1\n')
          await subscriber.heard(new RegExp(`message\\s+${kind}\\s+${text}`))
        }
      })

      it('SMTP: the greeting comes first, commands go together, a message arrives, and STARTTLS', async () => {
        using client = await openClient({ port: portOf('exim', kind) })
        await client.seen(/^220 mail\.test ESMTP/)
        client.socket.write('EHLO client.test\r\n')
        await client.seen(/250-PIPELINING\r\n[^]*250-STARTTLS\r\n[^]*250 HELP\r\n/)
        client.socket.write('MAIL FROM:<a@client.test>\r\nRCPT TO:<b@mail.test>\r\nDATA\r\n')
        await client.seen(/354 /)
        const text = `said on a port that is ${kind}`
        client.socket.write(`Subject: hello\r\n\r\n${text}\r\n.\r\n`)
        const [, id] = /250 OK id=(\S+)/.exec(await client.seen(/250 OK id=\S+\r\n/))!
        assert.match(readFileSync(spooled(servers.get('exim')!, `${id}-D`), 'utf8'), new RegExp(text))
        client.socket.write('STARTTLS\r\n')
        await client.seen(/220 TLS go ahead\r\n$/)
        client.socket.removeAllListeners('data')
        const secured = tls.connect({ socket: client.socket, rejectUnauthorized: false, servername: 'mail.test' })
        await once(secured, 'secureConnect')
        assert.equal(secured.getPeerX509Certificate()?.subject, 'CN=server.test')
        secured.write('EHLO client.test\r\nQUIT\r\n')
        let answer = ''
        secured.on('data', (chunk: Buffer) => {
          answer += String(chunk)
        })
        await eventually(() => answer.includes('221 '), 'the server says goodbye inside TLS')
        assert.match(answer, /250-mail\.test Hello client\.test/)
        secured.destroy()
      })
    })
  }

  it('a server that ends its side is heard to the end: QUIT', async () => {
    using client = await openClient({ port: portOf('exim', 'declared') })
    await client.seen(/^220 /)
    client.socket.write('QUIT\r\n')
    assert.equal(await client.ended, 'end')
    assert.match(client.text(), /221 mail\.test closing connection\r\n$/)
  })

  it('nobody comes to them but through a sidecar', async () => {
    for (const name of names) {
      const socket = net.connect(8080, mesh.get(`${name}-declared`).address)
      socket.on('error', () => {})
      let text = ''
      socket.on('data', (chunk) => {
        text += String(chunk)
      })
      socket.write('\0\0\0\x08\x04\xd2\x16\x2f', 'latin1')
      await new Promise((resolve) => socket.once('close', resolve))
      assert.equal(text, '', name)
    }
  })
})

function spooled(server: RealServer, file: string): string {
  const input = join(server.folder, 'spool/input')
  // Exim may sort messages into folders of one letter.
  const place = readdirSync(input, { recursive: true }).find((name) => String(name).endsWith(file))
  return join(input, String(place))
}

interface Talk extends AsyncDisposable {
  say(text: string): void
  /** Resolves when what it has said matches. */
  heard(wanted: RegExp): Promise<void>
}

/** A client program that is talked to while it runs. */
function program(command: string, args: readonly string[]): Talk {
  const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const gone = once(child, 'close')
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += String(chunk)
    })
  }
  return {
    say: (words) => void child.stdin?.write(words),
    heard: (wanted) => eventually(() => wanted.test(text), `${command} says ${wanted}`),
    async [Symbol.asyncDispose]() {
      child.kill()
      await gone
    },
  }
}
