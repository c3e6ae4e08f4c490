/** Other people's servers as reverse proxies in front of a `Final`, each with a folder and a port of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../support/free-port.ts'
import { findProgram } from '../../support/programs.ts'
import { Final } from './final.ts'

const configs = join(import.meta.dirname, '../config')

export const parsers = ['nginx', 'haproxy', 'h2o', 'varnish', 'trafficserver'] as const
export type Parser = (typeof parsers)[number]

/** Program and arguments, given folder and port; writes what it needs there. */
type Prepare = (folder: string, port: number, write: (config: string, to?: string) => string) => readonly string[]

const prepare: Record<Parser, Prepare> = {
  nginx: (folder, _port, write) => ['nginx', '-p', folder, '-c', write('nginx.conf')],
  haproxy: (_folder, _port, write) => ['haproxy', '-db', '-f', write('haproxy.cfg')],
  h2o: (_folder, _port, write) => ['h2o', '-c', write('h2o.conf')],
  varnish: (folder, port, write) => {
    const vcl = write('varnish.vcl')
    const memory = [
      '-s',
      'malloc,16M',
      '-p',
      'workspace_client=192k',
      '-p',
      'http_req_size=96k',
      '-p',
      'http_req_hdr_len=64k',
    ]
    const pools = ['-p', 'thread_pools=1', '-p', 'timeout_idle=300', '-p', 'http_max_hdr=1024']
    return [
      'varnishd',
      '-F',
      '-f',
      vcl,
      '-a',
      `127.0.0.1:${port}`,
      '-n',
      join(folder, 'work'),
      '-T',
      'none',
      '-j',
      'none',
      ...memory,
      ...pools,
    ]
  },
  trafficserver: (folder, _port, write) => {
    for (const name of ['etc', 'run', 'log', 'cache']) mkdirSync(join(folder, name))
    write('records.config', 'etc/records.config')
    write('remap.config', 'etc/remap.config')
    const put = (name: string, text: string): void => writeFileSync(join(folder, name), text)
    put('etc/storage.config', `${folder}/cache 64M\n`)
    put('etc/ip_allow.yaml', 'ip_allow: [{ apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL }]\n')
    put(
      'runroot.yaml',
      `prefix: ${folder}\nbindir: /usr/bin\nsbindir: /usr/sbin\nsysconfdir: ${folder}/etc\ndatadir: ${folder}/etc\nlocalstatedir: ${folder}/run\nruntimedir: ${folder}/run\nlogdir: ${folder}/log\ncachedir: ${folder}/cache\nlibexecdir: /usr/lib/trafficserver/modules\n`,
    )
    return ['traffic_server', `--run-root=${folder}/runroot.yaml`]
  },
}

export class ParserServer implements AsyncDisposable {
  readonly name: Parser
  readonly port: number
  readonly final: Final
  readonly #folder: string
  readonly #child: ChildProcess
  #said = ''

  private constructor(name: Parser, port: number, final: Final, folder: string, child: ChildProcess) {
    this.name = name
    this.port = port
    this.final = final
    this.#folder = folder
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-5_000)
      })
    }
  }

  static async start(name: Parser, marked = true): Promise<ParserServer> {
    const final = await Final.start(marked)
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), `outrigger-${name}-`))
    const fill = (text: string): string =>
      text.replaceAll('@PORT@', String(port)).replaceAll('@FINAL@', String(final.port)).replaceAll('@FOLDER@', folder)
    const [program = '', ...args] = prepare[name](folder, port, (config, to = config) => {
      const path = join(folder, to)
      writeFileSync(path, fill(readFileSync(join(configs, config), 'utf8')))
      return path
    })
    // A test that is killed takes its servers with it.
    const line = ['--pdeathsig', 'KILL', findProgram(program) ?? program, ...args]
    const child = spawn(findProgram('setpriv') ?? 'setpriv', line, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    const server = new ParserServer(name, port, final, folder, child)
    try {
      await server.#listening()
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
    return server
  }

  /** Throws with what it said if it has ended. */
  checkAlive(): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null)
      throw new Error(`${this.name} has ended (${this.#child.exitCode ?? this.#child.signalCode}):\n${this.#said}`)
  }

  async #listening(): Promise<void> {
    for (let tries = 0; tries < 300; tries++) {
      this.checkAlive()
      const socket = net.connect(this.port, '127.0.0.1')
      const open = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'error').then(() => false),
      ]).catch(() => false)
      socket.destroy()
      if (open) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`${this.name} does not listen:\n${this.#said}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = once(this.#child, 'close')
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM')
      const kill = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
      await gone
      clearTimeout(kill)
    }
    await this.final[Symbol.asyncDispose]()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** All of them at once. One that does not start is an error, and none is left behind. */
export async function startParsers(stack: AsyncDisposableStack, marked = true): Promise<readonly ParserServer[]> {
  const started = await Promise.allSettled(parsers.map((name) => ParserServer.start(name, marked)))
  const servers: ParserServer[] = []
  for (const result of started) if (result.status === 'fulfilled') servers.push(stack.use(result.value))
  for (const result of started) if (result.status === 'rejected') throw result.reason
  return servers
}
