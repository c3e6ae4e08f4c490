/** A scenario's load from within the client's Pod; what the Pod cannot do itself is done here. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { AppCounts } from '../../src/cli/up/checks.ts'
import type { Phase } from '../../src/cli/up/scenario.ts'
import type { Namespace } from './namespace.ts'
import { PodProcess } from './pod-process.ts'
import type { AgentCheck, AgentLine, AgentOrder } from './scenario-agent.ts'

export interface Hands {
  act(action: Phase['do'][number]): Promise<void>
  appCounts(): Promise<Record<string, AppCounts>>
}

export interface ScenarioOutcome {
  readonly checks: readonly AgentCheck[]
  /** What each stream got, by phase. */
  readonly said: readonly string[]
}

const agent = readFileSync(fileURLToPath(new URL('scenario-agent.ts', import.meta.url)), 'utf8')
const node = ['node', '--disable-warning=ExperimentalWarning', '--input-type=module-typescript', '--eval', agent]

/** Rejects with all that was said when the agent ends without a result. */
export async function playScenario(namespace: Namespace, order: AgentOrder, hands: Hands): Promise<ScenarioOutcome> {
  await using process = new PodProcess(namespace, 'deployment/client', 'client', node)
  process.write(JSON.stringify(order))
  for (;;) {
    const line = JSON.parse(await process.line()) as AgentLine
    if ('checks' in line) return line
    if (line.ask === 'act') await hands.act(line.action)
    process.write(JSON.stringify(line.ask === 'act' ? {} : await hands.appCounts()))
  }
}
