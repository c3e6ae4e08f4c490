import { type Command, Option } from 'commander'
import { systemClock } from '../base/clock.ts'
import { messageOf } from '../base/log.ts'
import type { Group } from './check/report.ts'
import { addClusterOptions, type ClusterOptions, type OpenedCluster } from './cluster/open.ts'

interface CheckOptions extends ClusterOptions {
  readonly pre?: true
  readonly output: 'text' | 'json'
}

/** Adds `outrigger check` and `outrigger check inject`. */
export async function registerCheck(program: Command): Promise<void> {
  const command: Command = program
    .command('check')
    .description(
      'Whether the mesh of a cluster is in order: a line for each thing looked at, and what to do where it is not.',
    )
    .option('--pre', 'what must be so before an install')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
  addClusterOptions(command, { namespace: false })
    .addHelpText(
      'after',
      '\nExamples:\n  outrigger check --pre\n  outrigger check\n  outrigger check -o json --context production\n' +
        '  outrigger check inject shop/web-7c9d8-x2x4v\n\nExit codes: 0 nothing failed (warnings may stand), 1 something did, 2 wrong command line.\n',
    )
    .action(async (options: CheckOptions) => {
      const { openFor } = await import('./cluster/open.ts')
      const { isWell, reportText } = await import('./check/report.ts')
      const opened = await openFor(options)
      try {
        const groups = await check(opened, options.pre === true)
        const isOk = isWell(groups)
        process.stdout.write(
          options.output === 'json' ? `${JSON.stringify({ ok: isOk, groups }, null, 2)}\n` : reportText(groups),
        )
        if (!isOk) process.exitCode = 1
      } finally {
        await opened.cluster.close()
      }
    })
  const { registerCheckInject } = await import('./check-inject.ts')
  registerCheckInject(command)
}

async function check(opened: OpenedCluster, isPre: boolean): Promise<Group[]> {
  const { checkServer, checkRights, checkDefinitions } = await import('./check/kubernetes.ts')
  const server = await checkServer(opened)
  if (server.findings.some(({ outcome }) => outcome === 'failed')) return [server]
  const groups = [server]
  const add = async (name: string, run: () => Promise<readonly Group[]>): Promise<void> => {
    try {
      groups.push(...(await run()))
    } catch (error) {
      const { withRemedy } = await import('./cluster/open.ts')
      const { failed } = await import('./check/report.ts')
      const [text = '', remedy] = messageOf(withRemedy(error, opened)).split('\n  ')
      groups.push({ name, findings: [failed(text, remedy ?? 'put that right first')] })
    }
  }
  await add('Permissions', async () => [await checkRights(opened, isPre)])
  await add('Definitions (CRDs)', async () => [await checkDefinitions(opened, isPre)])
  if (!isPre) await add('Control plane', () => checkMesh(opened))
  return groups
}

async function checkMesh(opened: OpenedCluster): Promise<readonly Group[]> {
  const [{ checkReplicas, checkIdentity }, { checkWebhook }, { checkWorkloads, isWanted, readClusterTemplate }] =
    await Promise.all([
      import('./check/control-plane.ts'),
      import('./check/webhook.ts'),
      import('./check/workloads.ts'),
    ])
  const [{ askReplicas, controlPlanePods }, { mergeStatus }, { hasEnded, keyOf, listAll, sidecarMark }] =
    await Promise.all([
      import('./cluster/control-planes.ts'),
      import('./cluster/merged-status.ts'),
      import('./cluster/pods.ts'),
    ])
  const { cluster, systemNamespace } = opened
  const [replicas, controlPlanes, pods, namespaceObjects, template] = await Promise.all([
    askReplicas(opened),
    controlPlanePods(opened),
    listAll<Awaited<ReturnType<typeof controlPlanePods>>[number]>(cluster, '/api/v1/pods'),
    listAll(cluster, '/api/v1/namespaces'),
    readClusterTemplate(opened),
  ])
  const namespaces = new Map(namespaceObjects.map(({ metadata }) => [metadata?.name ?? '', metadata?.labels ?? {}]))
  const injected = new Set(pods.filter((pod) => sidecarMark(pod) !== undefined && !hasEnded(pod)).map(keyOf))
  const status = mergeStatus({ cluster: opened.name, namespace: systemNamespace, replicas, injected, only: undefined })
  const meshed = new Set(
    pods
      .filter((pod) => sidecarMark(pod) !== undefined || isWanted(pod, namespaces, systemNamespace))
      .map(({ metadata }) => metadata?.namespace ?? ''),
  )
  return [
    checkReplicas(replicas, opened),
    await checkWebhook(opened, controlPlanes),
    await checkIdentity(opened, replicas, meshed, systemClock.wall()),
    checkWorkloads({ pods, namespaces, status, template, systemNamespace }),
  ]
}
