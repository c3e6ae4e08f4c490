import { request } from 'undici'
import type { ControlPlaneStatus, SourceStatus } from '../../../control-plane/admin/status.ts'
import { formatProblem } from '../../api/documents/format-problem.ts'

/** What of the control plane's status is shown while the mesh runs. */
export interface PolicyState {
  readonly revision: number
  readonly connected: number
  /** Problems of documents that are not in force now. */
  readonly refused: readonly string[]
}

/** Asks the control plane how policy stands, and tells what changed since the last time. */
export class PolicyWatch {
  readonly #url: string
  readonly #onEvent: (line: string) => void
  #state: PolicyState = { revision: 0, connected: 0, refused: [] }
  #rejected = new Set<string>()

  /** `admin` is `host:port`. */
  constructor(admin: string, onEvent: (line: string) => void) {
    this.#url = `http://${admin}/status`
    this.#onEvent = onEvent
  }

  /** The last answer. */
  get state(): PolicyState {
    return this.#state
  }

  async look(): Promise<void> {
    const status = await this.#ask()
    if (status === undefined) return
    const refused = status.sources.flatMap(({ problems }) =>
      problems.filter(isError).map((problem) => formatProblem(problem)),
    )
    const before = this.#state
    const next = {
      revision: status.revision,
      connected: status.sidecars.filter(({ connected }) => connected).length,
      refused,
    }
    this.#state = next
    for (const problem of refused) {
      if (!before.refused.includes(problem)) this.#onEvent(`refused, the last good version stays in force: ${problem}`)
    }
    if (refused.length === 0 && before.refused.length > 0) this.#onEvent('all documents are in order again')
    // A control plane that was started again counts from the beginning, and has nothing new to say.
    if (before.revision > 0 && next.revision > before.revision)
      this.#onEvent(`policy revision ${next.revision} is in force`)
    this.#tellRejections(status)
  }

  #tellRejections({ sidecars }: ControlPlaneStatus): void {
    const now = new Set<string>()
    for (const { workload, rejected } of sidecars) {
      for (const { resource, reason } of rejected) now.add(`the sidecar of ${workload} refused ${resource}: ${reason}`)
    }
    for (const line of now) if (!this.#rejected.has(line)) this.#onEvent(line)
    this.#rejected = now
  }

  async #ask(): Promise<ControlPlaneStatus | undefined> {
    try {
      const { statusCode, body } = await request(this.#url, { headersTimeout: answerMs, bodyTimeout: answerMs })
      const text = await body.text()
      return statusCode === 200 ? (JSON.parse(text) as ControlPlaneStatus) : undefined
    } catch {
      // It is being started again; the mesh runs on meanwhile, and the supervisor tells.
      return undefined
    }
  }
}

function isError({ severity }: SourceStatus['problems'][number]): boolean {
  return severity === 'error'
}

const answerMs = 900
