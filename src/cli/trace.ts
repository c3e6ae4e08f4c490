import { type Command, Option } from 'commander'
import type { TraceView } from '../../control-plane/admin/trace-store.ts'
import { type Clock, sleep, systemClock } from '../base/clock.ts'
import {
  addTargetOptions,
  chooseTarget,
  sayTarget,
  type Target,
  type TargetOptions,
  targetHelp,
} from './cluster/target.ts'
import { renderTrace } from './trace-tree.ts'

/** Adds `outrigger trace`. */
export function registerTrace(program: Command): void {
  const command = program
    .command('trace')
    .argument('<id>', "'last', or a trace id: 32 hexadecimal digits (traceparent, access log)")
    .description('Show one request as a tree: a line per hop and per try, with the decisions taken and their policies.')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
  addTargetOptions(command)
    .addHelpText(
      'after',
      targetHelp +
        '\nOnly sampled traces are kept (TelemetryPolicy, tracing.samplingRate), and none here while\n' +
        'OTEL_EXPORTER_OTLP_ENDPOINT sends them to a collector of your own.\n\n' +
        'Examples:\n  outrigger trace last\n  outrigger trace 4bf92f3577b34da6a3ce929d0e0e4736 -o json\n' +
        '  outrigger trace last --cluster\n',
    )
    .action(async (id: string, { output, ...options }: TargetOptions & { output: 'text' | 'json' }) => {
      const trace = await traceOf(id, await chooseTarget(options))
      process.stdout.write(`${output === 'json' ? JSON.stringify(trace, null, 2) : renderTrace(trace)}\n`)
    })
}

async function traceOf(id: string, target: Target): Promise<TraceView> {
  if (target.is === 'admin') {
    sayTarget(`the control plane at ${target.address}`)
    return findTrace(id, target.address, systemClock)
  }
  const [{ withCluster }, { findClusterTrace }] = await Promise.all([
    import('./cluster/open.ts'),
    import('./cluster/trace.ts'),
  ])
  return withCluster(target.options, async (opened) => {
    sayTarget(`every replica in namespace ${opened.systemNamespace} of ${opened.name}`)
    return findClusterTrace(opened, (address, known = id) => findTrace(known, address, systemClock))
  })
}

/** Sidecars send spans every half second; a trace that was quiet for longer is whole. */
const quietMs = 700
const waitMaxMs = 2_000
const askAgainMs = 100
const answerTimeoutMs = 5_000

/**
 * The trace of an id, or the latest one. `last` waits up to two seconds for the spans of a request that has just been
 * made. Throws an Error for people.
 */
export async function findTrace(id: string, admin: string, clock: Clock): Promise<TraceView> {
  const name = id.toLowerCase()
  if (name !== 'last' && !/^[0-9a-f]{32}$/.test(name)) {
    throw new Error(
      `'${id}' is no trace: expected 'last' or 32 hexadecimal digits, as in the second part of traceparent`,
    )
  }
  const startedAt = clock.now()
  let trace = await ask(name, admin)
  if (name === 'last') {
    // A request made right before this command has its spans still in the sidecars' queues.
    for (;;) {
      const waitedMs = clock.now() - startedAt
      if (waitedMs >= waitMaxMs) break
      if (waitedMs >= quietMs && trace !== undefined && trace.quietMs >= quietMs) break
      await sleep(clock, askAgainMs)
      trace = await ask(waitedMs < quietMs || trace === undefined ? 'last' : trace.traceId, admin)
    }
  }
  if (trace !== undefined) return trace
  throw new Error(
    name === 'last'
      ? 'no trace yet: none was sampled (TelemetryPolicy, tracing.samplingRate), or OTEL_EXPORTER_OTLP_ENDPOINT sends them elsewhere'
      : `no trace ${name}: it was not sampled, or newer ones have displaced it`,
  )
}

/** undefined when there is none. */
async function ask(name: string, admin: string): Promise<TraceView | undefined> {
  const { request } = await import('undici')
  let status: number
  let text: string
  try {
    const options = { headersTimeout: answerTimeoutMs, bodyTimeout: answerTimeoutMs }
    const { statusCode, body } = await request(`http://${admin}/traces/${name}`, options)
    status = statusCode
    text = await body.text()
  } catch (error) {
    throw new Error(
      `no control plane answers at ${admin} (${reasonOf(error)}): start one with 'outrigger up DIR', name it with --admin HOST:PORT, or a cluster with --cluster`,
      { cause: error },
    )
  }
  if (status === 404) return undefined
  if (status !== 200) throw new Error(`${admin} answered ${status}: ${text.trim().slice(0, 200)}`)
  return JSON.parse(text) as TraceView
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}
