/** What runs in a thread: one data plane, whose policy, certificate and log are the process's. Started by `thread-handle.ts`. */
import { BroadcastChannel, type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { threadClock } from '../base/clock.ts'
import { Live } from '../base/live.ts'
import { SharedTable } from '../base/shared-table.ts'
import { DataPlane } from '../data-plane.ts'
import type { Credentials } from '../identity/credentials.ts'
import type { ByteSink } from '../telemetry/line-writer.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { PoolShares } from '../upstream/pool-share.ts'
import { MirrorSource } from './mirror-source.ts'
import { PostedLog } from './posted-log.ts'
import type { FromThread, Question, Questions, ThreadReport, ThreadStart, ToThread } from './protocol.ts'

const { thread, options, memory, origin, channel, logLevel } = workerData as ThreadStart
const port: MessagePort = parentPort!
const post = (message: FromThread): void => port.postMessage(message)
const clock = threadClock(origin)
const level = { current: logLevel }
const log = new PostedLog(post, level)

/** Lines on their way to the process, by id. */
const lines = new Map<number, (error: string | undefined) => void>()
let lineId = 0
const stdout: ByteSink = {
  write: (bytes, done) => {
    lines.set(++lineId, (code) =>
      code === undefined ? done(null, bytes.length) : done(Object.assign(new Error(code), { code }), 0),
    )
    post({ is: 'lines', id: lineId, bytes })
  },
}

const { namespace, workload: name } = options
const credentials = new Live<Credentials | undefined>(undefined)
const source = new MirrorSource((name, wanted) => post({ is: 'watch', name, wanted }), log.named('policy'))
const telemetry = new Telemetry({
  clock,
  workload: { namespace, name, serviceAccount: '', canonicalService: name, revision: 'latest' },
  tracesEndpoint: options.traces,
  accessLog: options.accessLog ?? 'off',
  stdout,
  log,
})
const pools = new BroadcastChannel(channel)
pools.unref()
const shares = new PoolShares(new SharedTable(memory, thread, clock), (pool) => pools.postMessage(pool))
pools.onmessage = (event) => shares.hear((event as { data: string }).data)
const plane = new DataPlane({
  options,
  clock,
  log,
  telemetry,
  credentials,
  source,
  onTransition: (transition) => post({ is: 'transition', transition }),
  onEjection: (ejection) => post({ is: 'ejection', ejection }),
  shares,
})

function report(): ThreadReport {
  return {
    // Ready or not is what the process says.
    stats: plane.stats({ ready: true, reason: '' }),
    counted: telemetry.counted(),
    backends: plane.backends(),
  }
}

const answers: { readonly [Q in Question]: (ask: Questions[Q]['ask']) => Promise<Questions[Q]['answer']> } = {
  async listen({ addresses }) {
    for (const [name, at] of addresses) plane.reserve(name, at)
    await plane.listen()
    return [...plane.addresses]
  },
  report: () => Promise.resolve(report()),
  async drain({ way, timeoutMs }) {
    await plane.drain(way, timeoutMs)
    return null
  },
  async close() {
    plane.close()
    await telemetry.close()
    return report()
  },
}

port.on('message', (message: ToThread) => {
  switch (message.is) {
    case 'question': {
      const { id, what, ask } = message
      answers[what](ask as never).then(
        (answer) => post({ is: 'answer', id, answer, error: undefined }),
        (error: unknown) => post({ is: 'answer', id, answer: null, error: (error as Error).message }),
      )
      break
    }
    case 'policy':
      source.apply(message.changes)
      post({ is: 'applied', serial: message.serial })
      break
    case 'credentials':
      credentials.set(message.credentials)
      break
    case 'reserve':
      plane.reserve(message.name, message.at)
      break
    case 'retire':
      plane.retire()
      break
    case 'log-level':
      level.current = message.level
      break
    case 'written':
      lines.get(message.id)?.(message.error)
      lines.delete(message.id)
      break
  }
})

// One request must never take the others with it; what happened is in the log with its stack.
process.on('unhandledRejection', (error) => log.error('unhandled rejection', { error }))
// After this nothing can be relied on, here: the process puts another thread in this one's place.
process.on('uncaughtException', (error) => {
  post({ is: 'dying', report: report(), error })
  process.exit(1)
})
