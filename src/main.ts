/** Process start of the sidecar: flags and environment -> sidecar -> signals. `outrigger proxy run`. */
import { closeSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { systemClock } from './base/clock.ts'
import { createLog, type Log, type LogLevel, messageOf } from './base/log.ts'
import { StateFolder } from './base/state-folder.ts'
import { OptionsError, type ProxyOptions, parseProxyOptions } from './options.ts'
import { type Sidecar, startSidecar } from './sidecar.ts'
import { descriptorSink } from './telemetry/line-writer.ts'
import { applyV8Settings } from './v8-settings.ts'

/** Runs one sidecar until it is told to stop. Exit code 2: flags are wrong; 1: it could not start. */
export async function runProxy(argv: string[]): Promise<void> {
  let options: ProxyOptions
  try {
    options = parseProxyOptions(argv, process.env)
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error
    for (const problem of error.problems) process.stderr.write(`outrigger: ${problem}\n`)
    process.exitCode = 2
    return
  }
  // Read at each line: the admin API changes it.
  const logging = { level: options.logLevel as LogLevel }
  const log = newLog(logging)
  try {
    const rootPem = readRoot(options.trustBundleFile)
    const state = options.stateDir === undefined ? undefined : StateFolder.open(options.stateDir)
    const token = tokenReader(options)
    let sidecar: Sidecar | undefined
    let stopping = false
    let signals = 0
    const stop = (why: string): void => {
      if (stopping) return
      stopping = true
      // Asked through the admin API before there is anything to drain.
      if (sidecar === undefined) process.exit(0)
      log.info(`${why}: draining, at most ${options.drainTimeoutMs} ms`)
      void sidecar.drain(options.drainTimeoutMs).then(
        () => {
          state?.close()
          process.exit(0)
        },
        (error: unknown) => {
          log.error(`drain failed: ${messageOf(error)}`)
          process.exit(1)
        },
      )
    }
    // A second signal forces. The first one after a drain that was asked for does not: Kubernetes sends SIGTERM when the
    // preStop hook, which may have asked, is done.
    const onSignal = (signal: string): void => {
      if (++signals > 1) process.exit(1)
      stop(signal)
    }
    process.on('SIGTERM', () => onSignal('SIGTERM'))
    process.on('SIGINT', () => onSignal('SIGINT'))
    sidecar = await startSidecar({
      options,
      log,
      setLogLevel: (level) => {
        logging.level = level
      },
      rootPem,
      readRoot: () => readFile(options.trustBundleFile, 'utf8'),
      token,
      state,
      stdout: descriptorSink(1),
      onDrain: () => stop('drain'),
    })
    applyV8Settings()
    // One request must never take the others with it; what happened is in the log with its stack.
    process.on('unhandledRejection', (error) => log.error('unhandled rejection', { error }))
    log.info(`sidecar of ${options.namespace}/${options.workload} listens`, {
      addresses: Object.fromEntries([...sidecar.addresses].map(([name, at]) => [name, `${at.host}:${at.port}`])),
    })
  } catch (error) {
    process.stderr.write(`outrigger: ${messageOf(error)}\n`)
    process.exit(1)
  }
}

function newLog(logging: { readonly level: LogLevel }): Log {
  return createLog({
    clock: systemClock,
    service: 'outrigger-sidecar',
    get level() {
      return logging.level
    },
    format: process.stderr.isTTY ? 'text' : 'json',
  })
}

function readRoot(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(
      `cannot read the trust bundle: ${messageOf(error)}; --trust-bundle names the PEM that the control plane writes`,
      {
        cause: error,
      },
    )
  }
}

/** A descriptor is read once and closed, so that nothing the process starts inherits it; a file is read anew each time. */
function tokenReader(options: ProxyOptions): () => Promise<string | undefined> {
  if (options.tokenFd !== undefined) {
    const token = readFileSync(options.tokenFd, 'utf8').trim()
    closeSync(options.tokenFd)
    return () => Promise.resolve(token === '' ? undefined : token)
  }
  const file = options.tokenFile
  if (file === undefined) return () => Promise.resolve(undefined)
  return async () => (await readFile(file, 'utf8')).trim()
}
