/** New connections, and idle ones. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { sleep } from '../../../src/base/clock.ts'
import type { Bench, Running } from '../cell.ts'
import { type Load, saturate, type Target } from '../load.ts'
import type { ClientOptions } from '../node/client.ts'
import type { HandshakeCounts, HandshakeOptions } from '../node/handshakes.ts'
import type { HoldOptions } from '../node/hold.ts'
import { port } from '../ports.ts'
import { memory, openFilesMax } from '../usage.ts'
import { over, type Protocol, reasonsOf, requireRunning, startChecked, warmUp } from './window.ts'

const run = promisify(execFile)
const handshakeConcurrency = 16

/** A new connection for each request, plaintext or mTLS. */
export const storm: Protocol = async (bench, cell, { seconds, warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const { client, target } = running
  let counts: HandshakeCounts | undefined
  const load = async (duration: number): Promise<Load> => {
    if (client === undefined) {
      // The peer closes after its answer, and wrk connects again.
      const closing: Target = { ...target, headers: { ...target.headers, Connection: 'close' } }
      return saturate(bench.tools, bench.restCpu, closing, { connections, seconds: duration })
    }
    counts = await handshakes(bench, clientOf(running), cell.resume === true, duration)
    const { connections: made, failed, firstFailure } = counts
    const reasons = failed > 0 || made === 0 ? `${failed} connections failed (${firstFailure})` : undefined
    return { requests: made, seconds: duration, bytes: 0, void: reasons }
  }
  const warmup = await warmUp(running, warmupSeconds, load)
  const { load: measured, cpuSeconds, disturbed } = await over(bench, running, () => load(seconds))
  return {
    figures: {
      connectionsPerCpuSecond: measured.requests / cpuSeconds,
      cpuUsPerConnection: (cpuSeconds / measured.requests) * 1e6,
      connectionsPerSecond: measured.requests / measured.seconds,
      ...(counts !== undefined && { resumedShare: counts.resumed / counts.connections }),
    },
    disturbed,
    reasons: reasonsOf([...warmup, measured]),
  }
}

/**
 * How many are held at the second of two looks, between which memory is counted: what the first fifth costs once does not
 * count. TLS: each handshake costs the generator more than the measured side; as many as can be made before the first is too old.
 */
const plainMax = 10_000
const tlsMax = 2_500
/** A sidecar's listener takes a quarter of its descriptors, less some for itself (src/listener). */
const descriptorsPerConnection = 4
const descriptorsReserved = 400
const settleMs = 2_000
const holdMs = 120_000

/** Memory of a connection that has had one answer and is kept open. */
export const idle: Protocol = async (bench, cell, { warmupSeconds, connections }) => {
  const running = await startChecked(bench, cell)
  const { target } = running
  const warmup = await warmUp(running, warmupSeconds, (duration) =>
    saturate(bench.tools, bench.restCpu, target, { connections, seconds: duration }),
  )
  const options: HoldOptions = { ...clientOf(running), control: port.hold }
  const holder = bench.processes.start(
    'holder of idle connections',
    [...node(bench, 'hold.ts'), JSON.stringify(options)],
    {
      cpu: bench.restCpu,
      cwd: bench.workFolder,
    },
  )
  const look = async (count: number) => {
    const url = `http://127.0.0.1:${port.hold}/${count}`
    await bench.processes.ready(url, {}, [holder, ...running.started], { withinMs: holdMs })
    await sleep(bench.clock, settleMs)
    // Ends it when one of the connections has ended meanwhile.
    await bench.processes.ready(url, {}, [holder])
    return memory(running.measured.map((started) => started.pid))
  }
  const allowed = Math.floor((openFilesMax() - descriptorsReserved) / descriptorsPerConnection)
  const many = Math.min(running.client === undefined ? plainMax : tlsMax, allowed)
  const few = Math.floor(many / 5)
  const before = await look(few)
  const after = await look(many)
  requireRunning(running)
  return {
    figures: {
      bytesPerConnection: (after.rss - before.rss) / (many - few),
      ussBytesPerConnection: (after.uss - before.uss) / (many - few),
      rssBytes: after.rss,
      connections: many,
    },
    disturbed: 0,
    reasons: reasonsOf(warmup),
  }
}

async function handshakes(
  bench: Bench,
  client: ClientOptions,
  resume: boolean,
  seconds: number,
): Promise<HandshakeCounts> {
  const options: HandshakeOptions = { ...client, concurrency: handshakeConcurrency, seconds, resume }
  const command = ['-c', String(bench.restCpu), ...node(bench, 'handshakes.ts'), JSON.stringify(options)]
  const { stdout } = await run(bench.tools.taskset, command)
  return JSON.parse(stdout) as HandshakeCounts
}

/** Straight to the measured proxy: the helper that makes wrk's requests mTLS ones would keep its connections. */
function clientOf({ target, client }: Running): ClientOptions {
  const { port: at, pathname } = new URL(target.url)
  return {
    port: client?.port ?? Number(at),
    path: pathname,
    headers: target.headers,
    ...(client !== undefined && { tls: { pem: client.pem, alpn: client.alpn } }),
  }
}

function node(bench: Bench, program: 'hold.ts' | 'handshakes.ts'): string[] {
  return [process.execPath, '--disable-warning=ExperimentalWarning', path.join(bench.folder, 'node', program)]
}
