import type { Command } from 'commander'
import { ApiError } from '../../control-plane/kubernetes/cluster.ts'
import { resourcePath } from '../../control-plane/kubernetes/resource-path.ts'
import { type KindTraits, kinds } from '../api/policy/kinds.ts'
import { inSystem } from '../base/kubernetes-names.ts'
import { addClusterOptions, type ClusterOptions, type OpenedCluster, withCluster } from './cluster/open.ts'
import { listAll } from './cluster/pods.ts'
import { crdsRelease, helmCluster, release, runHelm } from './helm.ts'
import { withoutSystemNamespace } from './install.ts'

interface UninstallOptions extends ClusterOptions {
  readonly crds?: true
  readonly deleteAllPolicies?: true
  readonly helm: string
}

const ours: readonly KindTraits[] = Object.values<KindTraits>(kinds).filter(({ apiVersion }) =>
  apiVersion.startsWith('outrigger.dev/'),
)

/** Adds `outrigger uninstall`. */
export function registerUninstall(program: Command): void {
  const command: Command = program
    .command('uninstall')
    .description(
      'Take the control plane out of a cluster. Kinds (CRDs) and policies stay, unless --crds says otherwise.',
    )
    .option('--crds', 'the kinds too, and with them every policy of the cluster; needs --delete-all-policies')
    .option('--delete-all-policies', 'yes, all policies of outrigger.dev in all namespaces')
    .option('--helm <program>', 'which helm', 'helm')
    .option('-n, --namespace <name>', 'namespace of the control plane', inSystem.namespace)
  withoutSystemNamespace(addClusterOptions(command, { namespace: false }))
    .addHelpText(
      'after',
      `
Sidecars stay in the Pods that have them and go on with their last policy, until their certificates end: take the label
outrigger.dev/inject away and restart the workloads, before or right after.

Examples:
  outrigger uninstall
  outrigger uninstall --crds --delete-all-policies
`,
    )
    .action((options: UninstallOptions) => uninstall(options, command))
}

async function uninstall(options: UninstallOptions, command: Command): Promise<void> {
  const { helm, namespace = inSystem.namespace } = options
  if (options.crds === undefined && options.deleteAllPolicies)
    command.error('error: --delete-all-policies goes with --crds', { exitCode: 2 })
  if (options.crds && !options.deleteAllPolicies) {
    const counts = await withCluster(options, countPolicies).catch(() => undefined)
    const found = counts === undefined ? 'every policy' : `${counts.total} policies (${counts.text})`
    command.error(`error: --crds would delete ${found}: add --delete-all-policies if that is what you want`, {
      exitCode: 2,
    })
  }
  const where = [...helmCluster(options), '--namespace', namespace]
  const wait = ['--wait', '--timeout', '5m', '--ignore-not-found']
  process.stderr.write(`removing: control plane in namespace ${namespace}\n`)
  await runHelm({ helm, args: ['uninstall', release, ...where, ...wait], stdout: 'stderr' })
  if (options.crds) {
    process.stderr.write('removing: kinds (CRDs) and all policies of outrigger.dev\n')
    await runHelm({ helm, args: ['uninstall', crdsRelease, ...where, ...wait], stdout: 'stderr' })
    // The chart keeps them (helm.sh/resource-policy): that nobody loses policies by accident.
    await withCluster(options, deleteKinds)
  }
  process.stderr.write(leftovers(namespace, options.crds === true))
}

function leftovers(namespace: string, crdsToo: boolean): string {
  return [
    '\nstays in the cluster:',
    ...(crdsToo
      ? []
      : [
          "  the kinds of outrigger.dev and all policies ('outrigger uninstall --crds --delete-all-policies' removes them)",
        ]),
    `  the authority's key, Secret ${namespace}/${inSystem.authoritySecret}: with it a new install is the same authority`,
    `  ConfigMaps ${inSystem.rootConfigMap} with the root, one in each namespace`,
    '  sidecars in the Pods that have one: kubectl rollout restart, once the label is gone',
    `  the namespace itself: kubectl delete namespace ${namespace}\n`,
  ].join('\n')
}

async function countPolicies({ cluster }: OpenedCluster): Promise<{ total: number; text: string }> {
  const counts = await Promise.all(
    ours.map(async (traits) => [traits.plural, (await policiesOf(cluster, traits)).length] as const),
  )
  const text = counts
    .filter(([, count]) => count > 0)
    .map(([plural, count]) => `${count} ${plural}`)
    .join(', ')
  return { total: counts.reduce((sum, [, count]) => sum + count, 0), text: text || 'none' }
}

async function policiesOf(cluster: OpenedCluster['cluster'], traits: KindTraits) {
  try {
    return await listAll(cluster, resourcePath(traits))
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return []
    throw error
  }
}

async function deleteKinds({ cluster }: OpenedCluster): Promise<void> {
  for (const { plural } of ours) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.outrigger.dev`
    try {
      await cluster.ask('DELETE', path)
      process.stderr.write(`deleted: ${plural}.outrigger.dev\n`)
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
    }
  }
}
