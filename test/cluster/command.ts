import { spawn } from 'node:child_process'

export interface CommandOptions {
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string>>
  /** A minute when left out. */
  readonly timeoutMs?: number
  /** Pass on what it says on standard error while it works. */
  readonly progress?: boolean
}

export interface Result {
  /** Null when a signal or the time limit ended it. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that did not exit with 0; the message has all it said. */
export class CommandError extends Error {
  readonly result: Result

  constructor(title: string, result: Result, timeoutMs: number) {
    const how = result.status === null ? `was ended (limit ${timeoutMs} ms)` : `exited with ${result.status}`
    super(`${title} ${how}\n${result.stderr}${result.stdout}`.trim())
    this.name = 'CommandError'
    this.result = result
  }
}

/** Runs to the end, whatever the status. The event loop stays free: load goes on meanwhile. */
export async function attempt(file: string, args: readonly string[], options: CommandOptions = {}): Promise<Result> {
  const { stdin = '', env, timeoutMs = 60_000, progress = false } = options
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    if (progress) process.stderr.write(text)
  })
  // One that ends without reading its input is judged by its status.
  child.stdin.on('error', () => {})
  child.stdin.end(stdin)
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.on('error', reject)
  child.on('close', resolve)
  return { status: await promise, stdout, stderr }
}

/** Its standard output; throws a CommandError unless it exits with 0. */
export async function run(file: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await attempt(file, args, options)
  if (result.status === 0) return result.stdout
  throw new CommandError(
    `${file.slice(file.lastIndexOf('/') + 1)} ${args.join(' ')}`,
    result,
    options.timeoutMs ?? 60_000,
  )
}
