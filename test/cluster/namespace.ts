import { Process } from '../netns/process.ts'
import type { Cluster, Documents, Found } from './cluster.ts'
import type { CommandOptions, Result } from './command.ts'
import { shop } from './images.ts'
import { kubeconfig, program } from './state.ts'

/** A port of this machine that leads to one in the cluster until it is disposed of. */
export interface Forward extends AsyncDisposable {
  readonly port: number
  /** `http://127.0.0.1:PORT`. */
  readonly url: string
}

/** One namespace. Targets are written as kubectl has them: `pod/web`, `deployment/web`, `service/web`. */
export class Namespace implements AsyncDisposable {
  readonly name: string
  readonly #cluster: Cluster
  #isGone = false

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster
    this.name = name
  }

  kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return this.#cluster.kubectl(['--namespace', this.name, ...args], options)
  }

  attempt(args: readonly string[], options: CommandOptions = {}): Promise<Result> {
    return this.#cluster.attempt(['--namespace', this.name, ...args], options)
  }

  async get<T = Found>(...args: string[]): Promise<T> {
    return this.#cluster.get<T>('--namespace', this.name, ...args)
  }

  /** Into this namespace, unless a document names its own. */
  apply(documents: Documents): Promise<void> {
    return this.#cluster.apply(documents, this.name)
  }

  delete(documents: Documents): Promise<void> {
    return this.#cluster.delete(documents, this.name)
  }

  /**
   * Until the condition holds: `Ready`, `condition=Accepted=False`, `delete`, `create`, or a jsonpath as
   * `jsonpath={.status.phase}=Running`. A bare word in capitals is a condition.
   */
  async wait(target: string, condition: string, seconds = 60): Promise<void> {
    const wanted = /^[A-Z]/.test(condition) ? `condition=${condition}` : condition
    const args = ['wait', target, `--for=${wanted}`, `--timeout=${seconds}s`]
    await this.kubectl(args, { timeoutMs: (seconds + 5) * 1000 })
  }

  /** Until every replica is of the newest version and ready. */
  async rollout(target: string, seconds = 120): Promise<void> {
    await this.kubectl(['rollout', 'status', target, `--timeout=${seconds}s`], { timeoutMs: (seconds + 5) * 1000 })
  }

  /** In the pod's default container, or in `container`. */
  exec(
    target: string,
    command: readonly string[],
    options: CommandOptions & { container?: string } = {},
  ): Promise<string> {
    const { container, ...rest } = options
    const where = container === undefined ? [] : ['--container', container]
    const stdin = rest.stdin === undefined ? [] : ['--stdin']
    return this.kubectl(['exec', target, ...where, ...stdin, '--', ...command], rest)
  }

  logs(target: string, container?: string): Promise<string> {
    return this.kubectl([
      'logs',
      target,
      ...(container === undefined ? ['--all-containers'] : ['--container', container]),
    ])
  }

  /** Address of a Service, reachable from this machine as from a pod. */
  async serviceAddress(name: string): Promise<string> {
    return (await this.get('service', name)).spec.clusterIP as string
  }

  /** Address of a pod. */
  async podAddress(name: string): Promise<string> {
    return (await this.get('pod', name)).status.podIP as string
  }

  /** Names of the pods with these labels that are not on their way out. */
  async pods(selector: string): Promise<string[]> {
    const { items } = await this.get('pods', '--selector', selector)
    return (items as { metadata: { name: string; deletionTimestamp?: string } }[])
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.name)
  }

  async forward(target: string, port: number): Promise<Forward> {
    const args = ['--namespace', this.name, 'port-forward', target, `:${port}`]
    const forward = new Process(`port-forward ${target}`, program('kubectl'), args, {
      ...process.env,
      KUBECONFIG: kubeconfig,
    })
    const line = await forward.line(/^Forwarding from 127/)
    const local = Number(/:(\d+) ->/.exec(line)![1])
    return { port: local, url: `http://127.0.0.1:${local}`, [Symbol.asyncDispose]: () => forward.kill() }
  }

  /** A pod that does nothing, with Node in it, to call from: `exec('pod/NAME', ['node', '-e', ...])`. Ready on return. */
  async idlePod(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [{ name: 'idle', image: shop, command: ['node', '-e', 'setInterval(() => {}, 1e9)'] }],
      },
    })
    await this.wait(`pod/${name}`, 'Ready')
  }

  /** Ends every Pod at once, and takes it away. */
  async endPods(): Promise<void> {
    await this.kubectl(['delete', 'pods', '--all', '--force', '--grace-period=0', '--wait=false'])
  }

  /** Without waiting until everything in it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isGone) return
    this.#isGone = true
    await this.#cluster.deleteNamespace(this.name)
  }
}
