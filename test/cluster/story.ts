import type { Cluster } from './cluster.ts'

const logLines = 40

/** What happened in the namespaces, for whoever reads a failed test: pods, events, what containers said last. */
export async function story(cluster: Cluster, namespaces: readonly string[]): Promise<string> {
  const parts: string[] = []
  const tell = async (title: string, args: readonly string[]): Promise<void> => {
    const { stdout, stderr } = await cluster.attempt(args)
    parts.push(`--- ${title}\n${stdout}${stderr}`)
  }
  for (const namespace of namespaces) {
    const here = ['--namespace', namespace]
    await tell(`pods of ${namespace}`, [...here, 'get', 'pods', '--output', 'wide'])
    await tell(`events of ${namespace}`, [...here, 'get', 'events', '--sort-by', '.lastTimestamp'])
    for (const { pod, container, restarts } of await containers(cluster, namespace)) {
      const logs = [...here, 'logs', pod, '--container', container, `--tail=${logLines}`]
      await tell(`log of ${namespace}/${pod} ${container}`, logs)
      if (restarts > 0)
        await tell(`log of ${namespace}/${pod} ${container}, before its restart`, [...logs, '--previous'])
    }
  }
  return `${parts.join('\n')}\n`
}

interface Status {
  readonly name: string
  readonly restartCount: number
}

interface Pod {
  readonly metadata: { readonly name: string }
  readonly status: {
    readonly initContainerStatuses?: readonly Status[]
    readonly containerStatuses?: readonly Status[]
  }
}

async function containers(
  cluster: Cluster,
  namespace: string,
): Promise<{ pod: string; container: string; restarts: number }[]> {
  const { items } = await cluster.get<{ items: Pod[] }>('pods', '--namespace', namespace)
  return items.flatMap(({ metadata, status }) =>
    [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])].map(({ name, restartCount }) => ({
      pod: metadata.name,
      container: name,
      restarts: restartCount,
    })),
  )
}
