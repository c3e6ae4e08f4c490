import { type Command, InvalidArgumentError } from 'commander'
import { request } from 'undici'
import { type Clock, sleep, systemClock } from '../base/clock.ts'
import { parseDuration, parseHostPort } from '../options.ts'

interface WaitOptions {
  readonly health: string
  readonly timeout: number
}

interface RetireOptions {
  readonly admin: string
  readonly for: number
}

/** Between two questions. */
const everyMs = 200
/** One question: a process that has just been started may be slow. */
const askMs = 2_000

/** Adds `outrigger proxy wait` and `outrigger proxy retire`, which the kubelet runs inside the sidecar's container. */
export function registerProxyHooks(program: Command): void {
  const proxy =
    program.commands.find((command) => command.name() === 'proxy') ??
    program.command('proxy').description('The sidecar: run it, and capture traffic for it.')
  proxy
    .command('wait')
    .description(
      'Wait until the sidecar of this container or machine is ready: its postStart hook where it is an ordinary\n' +
        'container, so that those after it start with a network. Exit codes: 0 ready, 1 not in time, 2 wrong command line.',
    )
    .option('--health <host:port>', "the sidecar's health port", parseAddress, local('OUTRIGGER_HEALTH', 15_021))
    .option('--timeout <duration>', 'longest wait', parseWait, 600_000)
    .action(async (options: WaitOptions) => waitUntilReady(options, systemClock))
  proxy
    .command('retire')
    .description(
      'Tell the sidecar that its Pod is about to end (preStop hook): it is no longer ready and its inbound answers send\n' +
        'callers elsewhere, while everything is served on until SIGTERM. Exit code 1: it does not answer.',
    )
    .option('--admin <host:port>', "the sidecar's admin port", parseAddress, local('OUTRIGGER_ADMIN', 15_000))
    .option('--for <duration>', 'stay for so long after that, which keeps SIGTERM away', parseWait, 0)
    .action(async (options: RetireOptions) => retire(options, systemClock))
}

/** Resolves when it is ready. Rejects with the last reason why it is not. */
async function waitUntilReady({ health, timeout }: WaitOptions, clock: Clock): Promise<void> {
  const endsAt = clock.now() + timeout
  for (;;) {
    const reason = await reasonNotReady(health)
    if (reason === undefined) return
    if (clock.now() + everyMs > endsAt)
      throw new Error(`the sidecar was not ready within ${timeout / 1_000} s: ${reason}`)
    await sleep(clock, everyMs)
  }
}

async function reasonNotReady(health: string): Promise<string | undefined> {
  try {
    const { statusCode, body } = await request(`http://${health}/healthz/ready`, limits)
    const said = (await body.text()).trim()
    return statusCode === 200 ? undefined : said.replace(/^not ready: /, '')
  } catch (error) {
    return `no answer from ${health} (${words(error)})`
  }
}

async function retire(options: RetireOptions, clock: Clock): Promise<void> {
  try {
    const { statusCode, body } = await request(`http://${options.admin}/retire`, { ...limits, method: 'POST' })
    const said = (await body.text()).trim()
    if (statusCode !== 200) throw new Error(`it answers ${statusCode}: ${said}`)
  } catch (error) {
    throw new Error(`the sidecar at ${options.admin} cannot be told to retire: ${words(error)}`, { cause: error })
  } finally {
    // Told or not: whoever still calls needs the time.
    await sleep(clock, options.for)
  }
}

const limits = { headersTimeout: askMs, bodyTimeout: askMs } as const

function words(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return message || (code ?? String(error))
}

/** The address of the sidecar's variable; one that stands for every address is reached on loopback. */
function local(variable: string, port: number): string {
  const at = parseHostPort(process.env[variable] ?? '')
  if (at === undefined) return `127.0.0.1:${port}`
  const host = at.host === '0.0.0.0' || at.host === '::' ? '127.0.0.1' : at.host
  return `${host.includes(':') ? `[${host}]` : host}:${at.port}`
}

function parseAddress(text: string): string {
  if (parseHostPort(text) === undefined) throw new InvalidArgumentError(`Expected HOST:PORT, found "${text}".`)
  return text
}

function parseWait(text: string): number {
  const ms = text === '0' ? 0 : parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError(`Expected a duration such as 30s or 2m, found "${text}".`)
  return ms
}
