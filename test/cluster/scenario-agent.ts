/**
 * Runs in the client's Pod, with the compiled program of the image: a scenario's load, through the Pod's sidecar as any
 * application's, and its checks. What only somebody outside can do is asked for on stdout and answered on stdin, a line of
 * JSON each. `scenario.ts` sends this file as it is to `node --input-type=module-typescript`.
 */
import { createInterface } from 'node:readline'
import type { AppCounts } from '../../src/cli/up/checks.ts'
import type { Scenario } from '../../src/cli/up/scenario.ts'

/** First line to the agent. */
export interface AgentOrder {
  readonly scenario: Scenario
  readonly totalMs: number
  /** Where a stream that goes `direct` dials: a port that the Pod's capture leaves alone. */
  readonly direct: { readonly host: string; readonly port: number }
}

/** What the agent asks of the test, until it says the result. */
export type AgentLine =
  | { readonly ask: 'act'; readonly action: Scenario['phases'][number]['do'][number] }
  | { readonly ask: 'appCounts' }
  | { readonly checks: readonly AgentCheck[]; readonly said: readonly string[] }

export interface AgentCheck {
  readonly that: string
  readonly bound: string
  readonly measured: string
  readonly ok: boolean
}

// Not specifiers of this tree: the image's own files.
const lib = '/usr/lib/outrigger/src'
const { runScenario } = (await import(
  `${lib}/cli/up/scenario-run.js`
)) as typeof import('../../src/cli/up/scenario-run.ts')
const { checkAll } = (await import(`${lib}/cli/up/checks.js`)) as typeof import('../../src/cli/up/checks.ts')
const { breakerTransitions } = (await import(
  `${lib}/cli/up/sidecar-client.js`
)) as typeof import('../../src/cli/up/sidecar-client.ts')
const { systemClock } = (await import(`${lib}/base/clock.js`)) as typeof import('../../src/base/clock.ts')

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

async function next<T>(): Promise<T> {
  const { value, done } = await lines.next()
  if (done === true) throw new Error('the test has gone')
  return JSON.parse(value) as T
}

async function ask<T>(line: AgentLine): Promise<T> {
  process.stdout.write(`${JSON.stringify(line)}\n`)
  return next<T>()
}

// The clock's timers alone keep nothing alive.
const alive = setInterval(() => {}, 1_000)
const { scenario, totalMs, direct } = await next<AgentOrder>()
const own = [{ name: 'client', address: '127.0.0.1', meshed: true }] as unknown as Parameters<
  typeof breakerTransitions
>[0]
const before = await breakerTransitions(own)
const records = await runScenario(
  scenario,
  totalMs,
  {
    clock: systemClock,
    target: ({ url, rate, headers, via }) => {
      const to = new URL(url)
      const dialled = via === 'direct' ? direct : { host: to.hostname, port: Number(to.port) }
      // Captured or not: the client itself dials what it means, as any program does.
      return { url: to, ratePerSecond: rate, headers, via: { is: 'direct', ...dialled } }
    },
    act: async (action) => void (await ask({ ask: 'act', action })),
    appCounts: async () => new Map(Object.entries(await ask<Record<string, AppCounts>>({ ask: 'appCounts' }))),
    phaseBegins: () => {},
  },
  new AbortController().signal,
)
const after = await breakerTransitions(own)
const transitions = new Map([...after].map(([key, count]) => [key, count - (before.get(key) ?? 0)]))
const said = records.flatMap(({ name, tallies }) =>
  [...tallies].map(
    ([stream, tally]) => `${name}, ${stream}: ${tally.summary()} ${tally.commonest('x-outrigger-reason') ?? ''}`,
  ),
)
const result: AgentLine = { checks: checkAll(scenario.expect, records, transitions), said }
process.stdout.write(`${JSON.stringify(result)}\n`)
clearInterval(alive)
await lines.return?.()
process.stdin.destroy()
