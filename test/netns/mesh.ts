/** Machines in network namespaces: a bridge in one, a machine in each other, with IPv4 and IPv6 between them. */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { programPath } from '../support/programs.ts'
import { Packets } from './packets.ts'
import { Process } from './process.ts'
import { missingForNetns } from './requirements.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Users in the namespaces; they need no entry in /etc/passwd. */
export const proxyUid = 1337
export const appUid = 2000
export const controlPlaneUid = 1338

const sbin = { ...process.env, PATH: programPath }

/** A network with nothing on it. Dispose of it, whatever happens: that ends its processes and takes it all away. */
export function mesh(): Mesh {
  const missing = missingForNetns()
  if (missing.length > 0) throw new Error(`the network-namespace lane cannot run here: ${missing.join('; ')}`)
  return new Mesh()
}

/** Address of the bridge itself. */
const sentinel = '10.77.0.254'

let meshes = 0

export class Mesh implements AsyncDisposable {
  readonly #prefix = `or${process.pid}-${++meshes}`
  readonly #namespaces: string[] = []
  readonly #processes: Process[] = []
  /** For captures, tokens, keys; goes with the mesh. */
  readonly folder = mkdtempSync(join(tmpdir(), 'outrigger-netns-'))
  readonly #bridge: string
  #machines = 0
  readonly #onExit = () => this.#removeAll()
  /** Of a runner that gives up on us. Exit runs the handler above. */
  readonly #onSignal = () => process.exit(1)

  constructor() {
    removeLeftovers()
    chmodSync(this.folder, 0o755)
    process.on('exit', this.#onExit).on('SIGINT', this.#onSignal).on('SIGTERM', this.#onSignal)
    this.#bridge = this.#namespace('sw')
    ip('-n', this.#bridge, 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', this.#bridge, 'address', 'add', `${sentinel}/24`, 'dev', 'br0')
    ip('-n', this.#bridge, 'link', 'set', 'br0', 'up')
  }

  /** A new machine on the network, with an address of each family. */
  machine(name: string): Machine {
    const number = ++this.#machines
    const namespace = this.#namespace(name)
    const port = `p${number}`
    ip('-n', this.#bridge, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    ip('-n', this.#bridge, 'link', 'set', port, 'master', 'br0', 'up')
    const v4 = `10.77.0.${number}`
    const v6 = `fd77::${number}`
    ip('-n', namespace, 'address', 'add', `${v4}/24`, 'dev', 'eth0')
    ip('-n', namespace, '-6', 'address', 'add', `${v6}/64`, 'dev', 'eth0', 'nodad')
    ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    // Addresses outside the mesh and of Services: anything is reachable as far as the machine's own routing goes.
    ip('-n', namespace, 'route', 'add', 'default', 'dev', 'eth0')
    ip('-n', namespace, '-6', 'route', 'add', 'default', 'dev', 'eth0')
    return new Machine(name, namespace, v4, v6, this.#processes)
  }

  /** A folder that only that user may enter. */
  privateFolder(name: string, uid: number): string {
    const path = join(this.folder, name)
    mkdirSync(path, { mode: 0o700 })
    chownSync(path, uid, uid)
    return path
  }

  /** A file that only that user may read; root of the mesh's folder is for everyone. */
  file(name: string, text: string, uid?: number): string {
    const path = join(this.folder, name)
    writeFileSync(path, text, { mode: uid === undefined ? 0o644 : 0o600 })
    if (uid !== undefined) chownSync(path, uid, uid)
    return path
  }

  /** Records what crosses the wire between the machines until it is asked what it saw. */
  async record(filter = 'tcp'): Promise<Packets> {
    const file = join(this.folder, `wire-${this.#processes.length}.pcap`)
    const command = ['tcpdump', '-i', 'br0', '--immediate-mode', '-U', '-B', '16384', '-w', file]
    // -Z root: the folder is ours alone.
    const args = ['netns', 'exec', this.#bridge, ...command, '-Z', 'root', `(${filter}) or host ${sentinel}`]
    const tcpdump = new Process('tcpdump', 'ip', args, sbin)
    this.#processes.push(tcpdump)
    await tcpdump.error(/listening on/)
    return new Packets(tcpdump, file, () => this.#sendSentinel())
  }

  /** A packet by which a recording knows that it has seen all that came before; its destination need not be there. */
  #sendSentinel(): Buffer {
    const script = `require('node:net').connect(9, '10.77.0.1').on('error', () => {})`
    const sent = spawnSync('ip', ['netns', 'exec', this.#bridge, process.execPath, '-e', script], {
      env: sbin,
      encoding: 'utf8',
    })
    if (sent.status !== 0) throw new Error(`cannot mark the end of a recording: ${sent.stderr}`)
    return Buffer.from(sentinel.split('.').map(Number))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((one) => one.kill()))
    process.off('exit', this.#onExit).off('SIGINT', this.#onSignal).off('SIGTERM', this.#onSignal)
    this.#removeAll()
  }

  #namespace(name: string): string {
    const namespace = `${this.#prefix}-${name}`
    ip('netns', 'add', namespace)
    this.#namespaces.push(namespace)
    ip('-n', namespace, 'link', 'set', 'lo', 'up')
    return namespace
  }

  #removeAll(): void {
    for (const namespace of this.#namespaces.splice(0)) removeNamespace(namespace)
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export interface RunOptions {
  readonly uid?: number
  readonly env?: Readonly<Record<string, string>>
}

export class Machine {
  readonly name: string
  readonly namespace: string
  readonly v4: string
  readonly v6: string
  readonly #processes: Process[]

  constructor(name: string, namespace: string, v4: string, v6: string, processes: Process[]) {
    this.name = name
    this.namespace = namespace
    this.v4 = v4
    this.v6 = v6
    this.#processes = processes
  }

  /** Starts a TypeScript file of the checkout as an unprivileged user, `appUid` unless said otherwise. */
  node(file: string, args: readonly string[], options: RunOptions = {}): Process {
    const command = [process.execPath, '--disable-warning=ExperimentalWarning', join(root, file), ...args]
    return this.start(`${this.name}: ${file} ${args[0] ?? ''}`, asUser(options.uid ?? appUid, command), options.env)
  }

  /** The `outrigger` command, as a user. */
  outrigger(args: readonly string[], options: RunOptions = {}): Process {
    return this.node('src/cli/main.ts', args, options)
  }

  /** Any command, as root. */
  start(title: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Process {
    const started = new Process(title, 'ip', ['netns', 'exec', this.namespace, ...command], { ...sbin, ...env })
    this.#processes.push(started)
    return started
  }

  /** Runs a command to its end, as root. Throws with what it said if it fails. */
  run(...command: string[]): string {
    const result = spawnSync('ip', ['netns', 'exec', this.namespace, ...command], { env: sbin, encoding: 'utf8' })
    if (result.status !== 0)
      throw new Error(`${this.name}: ${command.join(' ')} (exit ${result.status}): ${result.stderr}`)
    return result.stdout
  }

  /** `outrigger proxy capture`, as the init container would. */
  capture(...args: string[]): string {
    return this.run(
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      join(root, 'src/cli/main.ts'),
      'proxy',
      'capture',
      ...args,
    )
  }

  address(family: 'ipv4' | 'ipv6'): string {
    return family === 'ipv4' ? this.v4 : this.v6
  }
}

/**
 * As that user and without a single capability; in a checkout that only root may read (a clone in root's home) with
 * the one that lets it read.
 */
function asUser(uid: number, command: readonly string[]): string[] {
  const drop = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs']
  const can = spawnSync(
    drop[0]!,
    [...drop.slice(1), 'test', '-r', join(root, 'package.json'), '-a', '-x', process.execPath],
    { env: sbin },
  )
  if (can.status === 0) return [...drop, ...command]
  const read = [
    '--inh-caps=-all,+dac_read_search',
    '--ambient-caps=-all,+dac_read_search',
    '--bounding-set=-all,+dac_read_search',
  ]
  return [...drop, ...read, ...command]
}

function ip(...args: string[]): void {
  const result = spawnSync('ip', args, { env: sbin, encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`ip ${args.join(' ')}: ${result.stderr}`)
}

function removeNamespace(namespace: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', namespace], { env: sbin, encoding: 'utf8' }).stdout
  for (const pid of pids.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
  spawnSync('ip', ['netns', 'del', namespace], { env: sbin })
}

/** Namespaces of an earlier run of ours that was killed: their names carry its process id. */
function removeLeftovers(): void {
  let names: string[] = []
  try {
    names = readdirSync('/run/netns')
  } catch {
    // No namespace was ever made here.
  }
  for (const name of names) {
    const pid = /^or(\d+)-/.exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) removeNamespace(name)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
