/** Which cluster a command asks, and what to do when it cannot be asked. */
import type { Command } from 'commander'
import { ApiError, type Cluster } from '../../../control-plane/kubernetes/cluster.ts'
import { inSystem } from '../../base/kubernetes-names.ts'

/** Flags of every command that talks to a cluster: kubectl's own words. */
export interface ClusterOptions {
  readonly kubeconfig?: string
  readonly context?: string
  readonly namespace?: string
  readonly systemNamespace: string
}

/** A cluster, and the namespace that is meant where none is named. */
export interface OpenedCluster {
  readonly cluster: Cluster
  /** `context NAME (URL)`: for people. */
  readonly name: string
  readonly namespace: string
  readonly systemNamespace: string
}

export interface ClusterFlags {
  readonly namespace?: boolean
}

/** Adds `--kubeconfig`, `--context`, `--system-namespace` and, unless it makes no sense, `-n`. */
export function addClusterOptions(command: Command, { namespace = true }: ClusterFlags = {}): Command {
  if (namespace) command.option('-n, --namespace <name>', "namespace of what is named (default: the context's)")
  return command
    .option('--kubeconfig <file>', 'which cluster (default: KUBECONFIG, else .kube/config in your home)')
    .option('--context <name>', 'which context of the kubeconfig')
    .option('--system-namespace <name>', 'namespace of the control plane', inSystem.namespace)
}

/** Opens the cluster of the options. Throws an Error that names the remedy. */
export async function openFor(options: ClusterOptions): Promise<OpenedCluster> {
  const { openCluster } = await import('../../../control-plane/kubernetes/cluster.ts')
  const cluster = await openCluster(options)
  const { config } = cluster
  const context = config.getContextObject(config.getCurrentContext())
  return {
    cluster,
    name: context?.name === undefined ? cluster.server : `context ${context.name} (${cluster.server})`,
    namespace: options.namespace ?? context?.namespace ?? 'default',
    systemNamespace: options.systemNamespace,
  }
}

/** Whether a kubeconfig, or the Pod that this runs in, names a cluster. */
export async function hasCluster(): Promise<boolean> {
  try {
    const opened = await openFor({ systemNamespace: inSystem.namespace })
    await opened.cluster.close()
    return true
  } catch {
    return false
  }
}

/** Opens, asks, closes. What goes wrong is told with its remedy. */
export async function withCluster<T>(options: ClusterOptions, ask: (opened: OpenedCluster) => Promise<T>): Promise<T> {
  const opened = await openFor(options)
  try {
    return await ask(opened)
  } catch (error) {
    throw withRemedy(error, opened)
  } finally {
    await opened.cluster.close()
  }
}

/** An answer of the API server, in words that say what to do. */
export function withRemedy(error: unknown, { name }: Pick<OpenedCluster, 'name'>): unknown {
  if (error instanceof ApiError) {
    if (error.status === 401)
      return new Error(
        `${name} does not accept these credentials: log in again, or choose another user in the kubeconfig`,
        { cause: error },
      )
    if (error.status === 403)
      return new Error(
        `${error.message}\n  this user may not do that: ask for a role that allows it, or choose another context with --context`,
        { cause: error },
      )
    return error
  }
  if (error instanceof Error && error.message.startsWith('the API server'))
    return new Error(`${error.message}: is ${name} the right one, and is it up? (--context, kubectl cluster-info)`, {
      cause: error,
    })
  return error
}
