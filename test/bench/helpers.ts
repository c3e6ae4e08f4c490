/** What runs beside every cell, on the generator's CPU, and is never measured. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Bench } from './cell.ts'
import { writeGrpcRequests } from './grpc-requests.ts'
import { port } from './ports.ts'
import type { Started } from './processes.ts'

/** Bytes of the bodies that the backend has as files, by the last part of the path. */
export const bodyBytes = { '1k': 1024, '64k': 64 * 1024, '1m': 1024 * 1024 } as const

/** The backend of every cell. */
export function startBackend(bench: Bench): Started {
  const folder = path.join(bench.workFolder, 'bodies')
  mkdirSync(folder)
  // nginx started by root reads them as another user: it may pass through, and list nothing.
  chmodSync(bench.workFolder, 0o711)
  for (const [name, bytes] of Object.entries(bodyBytes))
    writeFileSync(path.join(folder, name), Buffer.alloc(bytes, 'o'))
  return helper(bench, 'backend', nginx(bench, 'backend.conf'))
}

/** The backend of the cells of gRPC: it sends each message of a stream as it makes it. */
export function startGrpcBackend(bench: Bench): Started {
  writeGrpcRequests(bench.workFolder)
  return helper(bench, 'gRPC backend', [bench.tools.grpcServer, `-port=${port.backendGrpc}`], { GOMAXPROCS: '1' })
}

/** Where traces go. */
export function startSink(bench: Bench): Started {
  return helper(bench, 'sink', nodeProgram(bench, 'sink', port.sink))
}

/**
 * HAProxy that turns the generator's plain requests into mTLS ones to port `to`: wrk has no client certificates.
 * `certificate` is a file with chain and key.
 */
export function originateMtls(
  bench: Bench,
  to: number,
  certificate: string,
  alpn: string,
  speaks: 'http1' | 'http2' = 'http1',
): Started {
  const config = path.join(bench.folder, 'haproxy', `originate-mtls${speaks === 'http1' ? '' : '-http2'}.cfg`)
  return helper(bench, 'mTLS helper', [bench.tools.haproxy, '-db', '-f', config], {
    TARGET: `127.0.0.1:${to}`,
    CERTIFICATE: certificate,
    ALPN: alpn,
  })
}

/** Command line of an nginx that keeps its files in the work folder. */
export function nginx(bench: Bench, config: string): string[] {
  return [bench.tools.nginx, '-p', bench.workFolder, '-c', path.join(bench.folder, 'nginx', config), '-e', 'stderr']
}

/** Programs in node/ that listen at a port. */
const programs = {
  sink: 'sink.ts',
  'http-proxy-3': 'http-proxy-3.ts',
  'fast-proxy': 'fast-proxy.ts',
  'http2-relay': 'http2-relay.ts',
} as const

/** Command line of one of them, on the Node that runs ours. */
export function nodeProgram(bench: Bench, name: keyof typeof programs, at: number): string[] {
  const file = path.join(bench.folder, 'node', programs[name])
  return [process.execPath, '--disable-warning=ExperimentalWarning', file, String(at)]
}

function helper(bench: Bench, name: string, command: readonly string[], env: Record<string, string> = {}): Started {
  return bench.processes.start(name, command, { cpu: bench.restCpu, cwd: bench.workFolder, env })
}
