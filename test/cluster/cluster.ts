/** What a test does with the node: kubectl and helm, documents, waiting, calls from inside, and the story of a failure. */
import { parseAllDocuments, stringify } from 'yaml'
import { attempt, type CommandOptions, type Result, run } from './command.ts'
import { Namespace } from './namespace.ts'
import { openNode } from './node.ts'
import { kubeconfig, type Program, program } from './state.ts'
import { story } from './story.ts'

/** One YAML text (any number of documents), or documents as objects. */
export type Documents = string | object | readonly object[]

/** An object as the API server or a document has it; tests read every kind, and a wrong path shows in the test. */
// biome-ignore lint/suspicious/noExplicitAny: as said
export type Found = any

const env = { KUBECONFIG: kubeconfig }

/** The node, brought up unless it is. `await using cluster = await openCluster()`, or dispose of it in `after`. */
export async function openCluster(): Promise<Cluster> {
  return new Cluster(await openNode())
}

export class Cluster implements AsyncDisposable {
  readonly #node: AsyncDisposable
  readonly #namespaces: Namespace[] = []

  constructor(node: AsyncDisposable) {
    this.#node = node
  }

  /** Standard output of `kubectl ARGS`; a CommandError unless it exits with 0. */
  kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return run(program('kubectl'), args, { ...options, env: { ...env, ...options.env } })
  }

  /** The same whatever the status, for refusals. */
  attempt(args: readonly string[], options: CommandOptions = {}): Promise<Result> {
    return attempt(program('kubectl'), args, { ...options, env: { ...env, ...options.env } })
  }

  /** `kubectl get ARGS` as an object. */
  async get<T = Found>(...args: string[]): Promise<T> {
    return JSON.parse(await this.kubectl(['get', ...args, '--output', 'json'])) as T
  }

  helm(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return this.program('helm', args, { timeoutMs: 5 * 60_000, ...options })
  }

  /** Another of the programs that `build` made, pointed at the node. */
  program(name: Program, args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return run(program(name), args, { ...options, env: { ...env, ...options.env } })
  }

  /** Server-side, as the owner of every field; `namespace` is for documents that name none. */
  async apply(documents: Documents, namespace?: string): Promise<void> {
    // kubectl refuses documents of another namespace than the one it is told.
    const inside = namespace === undefined ? [] : ['--namespace', namespace]
    const args = ['apply', '--server-side', '--force-conflicts', ...inside, '--filename', '-']
    await this.kubectl(args, { stdin: text(documents) })
  }

  async delete(documents: Documents, namespace?: string): Promise<void> {
    const inside = namespace === undefined ? [] : ['--namespace', namespace]
    await this.kubectl(['delete', '--ignore-not-found', ...inside, '--filename', '-'], {
      stdin: text(documents),
      timeoutMs: 120_000,
    })
  }

  /**
   * A namespace of the test's own, `PREFIX-xxxxx`, ready for pods. Deleted, with all in it, when it or the cluster is
   * disposed of.
   */
  async namespace(prefix: string, labels: Readonly<Record<string, string>> = {}): Promise<Namespace> {
    const name = `${prefix}-${crypto.randomUUID().slice(0, 5)}`
    await this.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
    const namespace = new Namespace(this, name)
    this.#namespaces.push(namespace)
    // Pods made earlier than this are refused.
    await namespace.wait('serviceaccount/default', 'create')
    return namespace
  }

  /** A namespace that something else made, as the chart. Not deleted. */
  existing(name: string): Namespace {
    return new Namespace(this, name)
  }

  /**
   * With all in it; its Pods get no time to end well, which is for the tests of rolling updates to ask for. Gone some seconds
   * later: who makes one of the same name waits for that with `whenDeleted`.
   */
  async deleteNamespace(name: string): Promise<void> {
    // First, so that nobody makes its Pods anew.
    await this.kubectl(['delete', 'namespace', name, '--ignore-not-found', '--wait=false'])
    await this.existing(name).endPods()
  }

  /** When somebody is deleting the namespace, until it is gone. */
  async whenDeleted(namespace: string): Promise<void> {
    const phase = ['get', 'namespace', namespace, '--ignore-not-found', '--output', 'jsonpath={.status.phase}']
    if ((await this.kubectl(phase)) !== 'Terminating') return
    await this.kubectl(['wait', `namespace/${namespace}`, '--for=delete', '--timeout=120s'], { timeoutMs: 125_000 })
  }

  /** Pods, events and logs of the namespaces (those of the tests when left out), as a text to read. */
  story(...namespaces: string[]): Promise<string> {
    return story(this, namespaces.length > 0 ? namespaces : this.#namespaces.map(({ name }) => name))
  }

  /** For `afterEach((test) => cluster.explain(test, ...))`: prints the story when the test has failed. */
  async explain(test: object, ...namespaces: string[]): Promise<void> {
    if (!('passed' in test) || test.passed !== false) return
    const own = this.#namespaces.map(({ name }) => name)
    process.stderr.write(await this.story(...new Set([...own, ...namespaces])))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const namespace of this.#namespaces.splice(0)) await namespace[Symbol.asyncDispose]()
    } finally {
      await this.#node[Symbol.asyncDispose]()
    }
  }
}

/** Text to objects, for tests that change a document before it is applied. */
export function parseDocuments(yaml: string): Found[] {
  return parseAllDocuments(yaml)
    .map((document) => document.toJS())
    .filter((document) => document !== null)
}

function text(documents: Documents): string {
  if (typeof documents === 'string') return documents
  return [documents]
    .flat()
    .map((document) => stringify(document, { aliasDuplicateObjects: false }))
    .join('---\n')
}
