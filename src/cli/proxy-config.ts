import { type Command, Option } from 'commander'
import { systemClock } from '../base/clock.ts'
import { addClusterOptions, type ClusterOptions } from './cluster/open.ts'
import type { SidecarView } from './proxy-tables.ts'

interface Options extends ClusterOptions {
  readonly admin?: string
  readonly output: 'text' | 'json'
}

/** Where a sidecar answers people: loopback of its Pod. */
const sidecarAdminPort = 15_000

/** Adds `outrigger proxy config`: what one sidecar has in force, by its own word. */
export function registerProxyConfig(program: Command): void {
  const proxy =
    program.commands.find((command) => command.name() === 'proxy') ??
    program.command('proxy').description('The sidecar: run it, look into it, capture traffic for it.')
  const command: Command = proxy
    .command('config')
    .argument('[pod]', 'NS/POD, POD.NS, or POD in the namespace of -n')
    .description(
      'What one sidecar has in force, by its own word: certificate, services, routes, endpoints with their health, policies\n' +
        'with their versions, what it refused. Asked through a port-forward to its loopback port 15000.',
    )
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
    .addOption(
      new Option('--admin <host:port>', 'a sidecar at this address instead, without a cluster').conflicts([
        'kubeconfig',
        'context',
      ]),
    )
  addClusterOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  outrigger proxy config shop/web-7c9d8-x2x4v
  outrigger proxy config web-7c9d8-x2x4v.shop -o json
  outrigger proxy config --admin 127.0.0.1:15000
`,
    )
    .action(async (pod: string | undefined, options: Options) => {
      if ((pod === undefined) === (options.admin === undefined))
        command.error('error: name one Pod, or a sidecar with --admin HOST:PORT', { exitCode: 2 })
      const view = options.admin === undefined ? await askPod(pod ?? '', options) : await askAdmin(options.admin)
      if (options.output === 'json') process.stdout.write(`${JSON.stringify(view, null, 2)}\n`)
      else {
        const { proxyText } = await import('./proxy-tables.ts')
        process.stdout.write(proxyText(view, systemClock.wall()))
      }
    })
}

async function askAdmin(address: string): Promise<SidecarView> {
  const { request } = await import('undici')
  return viewOf(async (path) => {
    const timeouts = { headersTimeout: 5_000, bodyTimeout: 5_000 }
    const { statusCode, body } = await request(`http://${address}${path}`, timeouts).catch((cause: unknown) => {
      const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
      throw new Error(`no sidecar answers at ${address} (${code}): 'outrigger up' prints their addresses`, { cause })
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`${address}${path} answered ${statusCode}: is it a sidecar's admin port?`)
    return text
  })
}

async function askPod(word: string, options: ClusterOptions): Promise<SidecarView> {
  const [{ withCluster }, { findPod, keyOf, nameOf }, { sidecarState }, { Forward }] = await Promise.all([
    import('./cluster/open.ts'),
    import('./cluster/pods.ts'),
    import('./cluster/sidecar-state.ts'),
    import('./cluster/port-forward.ts'),
  ])
  return withCluster(options, async ({ cluster, namespace }) => {
    const pod = await findPod(cluster, word, namespace)
    const state = sidecarState(pod)
    if (state.is === 'none')
      throw new Error(`Pod ${keyOf(pod)} has no sidecar: 'outrigger check inject ${keyOf(pod)}' says why`)
    if (state.is === 'waiting') throw new Error(`the sidecar of Pod ${keyOf(pod)} does not run: ${state.reason}`)
    const target = { namespace: pod.metadata?.namespace ?? '', pod: nameOf(pod), port: sidecarAdminPort }
    await using forward = await Forward.open(cluster, target)
    return await viewOf((path) => forward.get(path))
  })
}

async function viewOf(get: (path: string) => Promise<string>): Promise<SidecarView> {
  const config = JSON.parse(await get('/config_dump')) as SidecarView['config']
  const [stats, backends] = await Promise.all([get('/stats'), get('/backends')])
  return {
    config,
    stats: JSON.parse(stats) as SidecarView['stats'],
    backends: JSON.parse(backends) as SidecarView['backends'],
  }
}
