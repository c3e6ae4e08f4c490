/** Servers of databases and mail, each with a folder, a port and a certificate of its own; nothing of the machine's is touched. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../support/free-port.ts'
import { findProgram } from '../support/programs.ts'
import { selfSigned } from '../support/self-signed.ts'

export type RealServerName = 'mariadb' | 'postgresql' | 'redis' | 'exim'

interface Plan {
  /** The server's own user; it refuses to be root, or gives root up. */
  readonly user: string
  /** Runs first, to its end, as `user`. */
  readonly before?: (folder: string) => readonly string[]
  /** The server, in the foreground. */
  readonly command: (folder: string, port: number) => readonly string[]
  /** It changes to `user` by itself, and needs root until then. */
  readonly startsAsRoot?: true
}

const postgresql = '/usr/lib/postgresql/15/bin'

const plans: Record<RealServerName, Plan> = {
  // Without grant tables an empty folder will do: no tables of the system are needed, and root needs no password.
  mariadb: {
    user: 'mysql',
    command: (folder, port) =>
      words(
        `mariadbd --no-defaults --datadir=${folder}/data --socket=${folder}/socket --pid-file=${folder}/pid`,
        `--port=${port} --bind-address=127.0.0.1 --skip-grant-tables --skip-name-resolve --skip-log-bin`,
        '--innodb-log-file-size=8M --innodb-buffer-pool-size=16M --max-allowed-packet=64M',
        `--ssl-cert=${folder}/cert.pem --ssl-key=${folder}/key.pem`,
      ),
  },
  postgresql: {
    user: 'postgres',
    before: (folder) =>
      words(
        `${postgresql}/initdb -D ${folder}/data -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions`,
      ),
    command: (folder, port) =>
      words(
        `${postgresql}/postgres -D ${folder}/data -k ${folder} -h 127.0.0.1 -p ${port} -F`,
        `-c ssl=on -c ssl_cert_file=${folder}/cert.pem -c ssl_key_file=${folder}/key.pem`,
      ),
  },
  redis: {
    user: 'redis',
    command: (folder, port) => [
      ...words(`redis-server --port ${port} --bind 127.0.0.1 --dir ${folder} --appendonly no --save`),
      '',
    ],
  },
  exim: {
    user: 'Debian-exim',
    startsAsRoot: true,
    command: (folder, port) => {
      writeFileSync(join(folder, 'exim.conf'), eximConfig(folder, port), { mode: 0o644 })
      return ['exim4', '-C', `${folder}/exim.conf`, '-bdf']
    },
  },
}

/** No argument has a space in it. */
function words(...lines: readonly string[]): readonly string[] {
  return lines.join(' ').split(' ')
}

/** Takes every message, and keeps it in its spool. */
function eximConfig(folder: string, port: number): string {
  return `spool_directory = ${folder}/spool
log_file_path = ${folder}/spool/%slog
pid_file_path = ${folder}/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = ${port}
primary_hostname = mail.test
queue_only = true
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = take
tls_advertise_hosts = *
tls_certificate = ${folder}/cert.pem
tls_privatekey = ${folder}/key.pem
begin acl
take:
  accept
begin routers
begin transports
`
}

export class RealServer implements AsyncDisposable {
  readonly name: RealServerName
  readonly port: number
  readonly folder: string
  readonly #child: ChildProcess
  #said = ''

  private constructor(name: RealServerName, port: number, folder: string, child: ChildProcess) {
    this.name = name
    this.port = port
    this.folder = folder
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-5_000)
      })
    }
  }

  static async start(name: RealServerName): Promise<RealServer> {
    const plan = plans[name]
    const [uid = 0, gid = 0] = ['-u', '-g'].map((what) => Number(execFileSync('id', [what, plan.user])))
    const folder = mkdtempSync(join(tmpdir(), `outrigger-${name}-`))
    chmodSync(folder, 0o755)
    const { key, cert } = await selfSigned('server.test')
    for (const made of ['data', 'spool']) mkdirSync(join(folder, made), { mode: 0o700 })
    writeFileSync(join(folder, 'cert.pem'), cert)
    writeFileSync(join(folder, 'key.pem'), key, { mode: 0o600 })
    for (const owned of ['data', 'spool', 'cert.pem', 'key.pem']) chownSync(join(folder, owned), uid, gid)
    // Exim's configuration must not be where another user could replace it.
    if (plan.startsAsRoot === undefined) chownSync(folder, uid, gid)
    const as = { cwd: folder, env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' } }
    const before = plan.before?.(folder)
    if (before !== undefined) execFileSync(before[0]!, before.slice(1), { ...as, uid, gid, stdio: 'pipe' })
    const port = await freePort()
    const [program = '', ...args] = plan.command(folder, port)
    const child = spawn(findProgram(program) ?? program, args, {
      ...as,
      ...(plan.startsAsRoot === undefined && { uid, gid }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const server = new RealServer(name, port, folder, child)
    await server.#listening()
    return server
  }

  async #listening(): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      if (this.#child.exitCode !== null)
        throw new Error(`${this.name} has ended (${this.#child.exitCode}):\n${this.#said}`)
      const socket = net.connect(this.port, '127.0.0.1')
      const open = await once(socket, 'connect').then(
        () => true,
        () => false,
      )
      socket.destroy()
      if (open) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`${this.name} does not listen:\n${this.#said}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'close')
      // PostgreSQL: fast shutdown, which does not wait for clients.
      this.#child.kill(this.name === 'postgresql' ? 'SIGINT' : 'SIGTERM')
      const kill = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
      await gone
      clearTimeout(kill)
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}
