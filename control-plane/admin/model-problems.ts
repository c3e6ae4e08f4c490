import type { Document } from '../../src/api/documents/document.ts'
import type { Problem } from '../../src/api/documents/problem.ts'
import type { Clock, Timer } from '../../src/base/clock.ts'
import type { Log } from '../../src/base/log.ts'
import { problemsOfModel } from '../model/check.ts'
import { checkEndpoints } from '../model/check-endpoints.ts'
import { checkRoutes } from '../model/check-routes.ts'
import { checkWorkloads } from '../model/check-workloads.ts'
import { indexDocuments } from '../model/document-index.ts'
import { type MeshModel, meshModel } from '../model/mesh-model.ts'
import { type HeldProblem, holdProblems } from '../sources/source.ts'

export const modelProblemLimits = {
  /** A burst of changes is one check, and publishing comes before it: also to a thousand sidecars. */
  quietMs: 250,
  /** After a check it rests so many times as long as that took: at most a tenth of the processor goes to checks. */
  restFactor: 9,
  /** What is past these is counted only. */
  problemsMax: 500,
  /** Selectors against Pods; 20 million comparisons take about a second. */
  comparisonsMax: 20_000_000,
}

/** What is wrong between the documents that are in force; looked for once after each change, never when someone asks. */
export class ModelProblems {
  readonly #clock: Clock
  readonly #log: Log
  #documents: readonly Document[] = []
  /** Of the last check: the next one takes from it what did not change. */
  #model: MeshModel | undefined
  #timer: Timer | undefined
  #restUntil = 0
  #current: readonly HeldProblem[] = []

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log.named('model')
  }

  /** Of the last check. */
  get current(): readonly HeldProblem[] {
    return this.#current
  }

  /** Checks these a little later, if nothing newer comes before. */
  check(documents: readonly Document[]): void {
    if (documents === this.#documents) return
    this.#documents = documents
    this.#timer ??= this.#clock.after(Math.max(modelProblemLimits.quietMs, this.#restUntil - this.#clock.now()), () =>
      this.#check(),
    )
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #check(): void {
    this.#timer = undefined
    const startedAt = this.#clock.now()
    try {
      this.#model = meshModel(indexDocuments(this.#documents, this.#model?.index), this.#model)
      const found = problemsOf(this.#documents, this.#model, this.#clock)
      this.#current = holdProblems(this.#current, bounded(found), this.#clock.wall())
    } catch (error) {
      // A fault of ours in a check must not take the control plane down; what is in force does not hang on it.
      this.#log.error('the documents could not be checked against each other', { error })
    }
    const now = this.#clock.now()
    this.#restUntil = now + (now - startedAt) * modelProblemLimits.restFactor
  }
}

function problemsOf(documents: readonly Document[], model: MeshModel, clock: Clock): Problem[] {
  if (comparisons(documents) <= modelProblemLimits.comparisonsMax) return problemsOfModel(model, clock)
  const { file, line, column } = documents[0]!.origin
  const skipped: Problem = {
    severity: 'warning',
    code: 'not-checked',
    file,
    line,
    column,
    path: '',
    message: `the ${documents.length} documents have too many selectors to look for conflicts and dangling references of policies here: outrigger validate does`,
  }
  return [skipped, ...checkRoutes(model), ...checkEndpoints(model), ...checkWorkloads(model)]
}

/** An upper bound of what `checkPolicies` compares: every two policies of a scope by the Pods that each selects. */
export function comparisons(documents: readonly Document[]): number {
  const counts = new Map<
    string,
    { pods: number; selectors: number; PeerAuthentication: number; TelemetryPolicy: number }
  >()
  for (const { kind, namespace, value } of documents) {
    let count = counts.get(namespace)
    if (count === undefined) {
      counts.set(namespace, (count = { pods: 0, selectors: 0, PeerAuthentication: 0, TelemetryPolicy: 0 }))
    }
    if (kind === 'Pod') count.pods++
    else if ('spec' in value && isRecord(value.spec) && value.spec['selector'] !== undefined) {
      count.selectors++
      if (kind === 'PeerAuthentication' || kind === 'TelemetryPolicy') count[kind]++
    }
  }
  let sum = 0
  for (const { pods, selectors, PeerAuthentication: one, TelemetryPolicy: other } of counts.values()) {
    sum += pods * (selectors + one ** 2 + other ** 2)
  }
  return sum
}

function bounded(problems: readonly Problem[]): readonly Problem[] {
  const { problemsMax } = modelProblemLimits
  const next = problems[problemsMax]
  if (next === undefined) return problems
  const { severity, file, line, column } = next
  const message = `${problems.length - problemsMax} more problems between documents are not listed`
  const rest: Problem = { severity, code: 'too-many-problems', file, line, column, path: '', message }
  return [...problems.slice(0, problemsMax), rest]
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
