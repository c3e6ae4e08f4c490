/** Whom `status` and `trace` ask: a control plane by its address, or those of a cluster. */
import { connect } from 'node:net'
import { type Command, Option } from 'commander'
import { addClusterOptions, type ClusterOptions, hasCluster } from './open.ts'

export interface TargetOptions extends ClusterOptions {
  readonly admin?: string
  readonly cluster?: true
}

export type Target =
  | { readonly is: 'admin'; readonly address: string }
  | { readonly is: 'cluster'; readonly options: ClusterOptions }

/** Where a control plane on this machine answers. */
const localAddress = 'localhost:15014'

/** Adds `--admin`, `--cluster` and the flags of a cluster. */
export function addTargetOptions(command: Command): Command {
  command
    .addOption(
      new Option('--admin <host:port>', 'ask the control plane at this address').conflicts([
        'cluster',
        'kubeconfig',
        'context',
      ]),
    )
    .option('--cluster', "ask every replica in the kubeconfig's cluster, by port-forward")
  return addClusterOptions(command)
}

/** For `--help`. */
export const targetHelp =
  '\nWhom it asks: --admin; else the cluster, when --cluster, --kubeconfig or --context is given; else the control plane on this\n' +
  `machine (${localAddress}); else, when none is there, the kubeconfig's cluster. Standard error says which.\n`

/** Chooses, and says on stderr what was chosen when nobody named it. */
export async function chooseTarget(options: TargetOptions): Promise<Target> {
  if (options.admin !== undefined) return { is: 'admin', address: options.admin }
  if (options.cluster || options.kubeconfig !== undefined || options.context !== undefined)
    return { is: 'cluster', options }
  if (!(await isOpen(15_014)) && (await hasCluster())) {
    process.stderr.write(`no control plane at ${localAddress}\n`)
    return { is: 'cluster', options }
  }
  return { is: 'admin', address: localAddress }
}

/** Says on stderr who is asked. */
export function sayTarget(who: string): void {
  process.stderr.write(`asking ${who}\n`)
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect({ host: 'localhost', port })
  const { promise, resolve } = Promise.withResolvers<boolean>()
  socket.once('connect', () => resolve(true))
  socket.once('error', () => resolve(false))
  const isThere = await promise
  socket.destroy()
  return isThere
}
