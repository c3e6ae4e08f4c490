import type { Command } from 'commander'
import { inSystem } from '../base/kubernetes-names.ts'
import { addClusterOptions, type ClusterOptions } from './cluster/open.ts'
import { chartFolder, crdsRelease, helmCluster, release, runHelm } from './helm.ts'

interface InstallOptions extends ClusterOptions {
  readonly set: readonly string[]
  readonly setString: readonly string[]
  readonly values: readonly string[]
  readonly dryRun?: true
  readonly resetValues?: true
  readonly crds: boolean
  readonly helm: string
  readonly timeout: string
}

/** Adds `outrigger install`. */
export function registerInstall(program: Command): void {
  const command: Command = program
    .command('install')
    .description(
      'Install the control plane into a cluster, or bring it up to date: the kinds first, then the chart, with Helm.\n' +
        'Run again it changes only what differs; values of before stay, unless they are given anew.',
    )
    .option('--set <path=value>', 'a value of the chart; may be repeated', collect, [])
    .option('--set-string <path=value>', 'the same, always as a text', collect, [])
    .option('-f, --values <file>', 'a file of values; may be repeated', collect, [])
    .option('--reset-values', 'forget the values of before')
    .option('--dry-run', 'print the manifests, change nothing; needs no cluster')
    .option('--no-crds', 'leave the kinds (CRDs) alone')
    .option('--helm <program>', 'which helm', 'helm')
    .option('--timeout <duration>', 'how long to wait until all of it is ready', '5m')
    .option('-n, --namespace <name>', 'namespace of the control plane', inSystem.namespace)
  withoutSystemNamespace(addClusterOptions(command, { namespace: false }))
    .addHelpText(
      'after',
      `
Examples:
  outrigger install
  outrigger install -f charts/outrigger/values-ha.yaml --set config.trustDomain=mesh.example
  outrigger install --dry-run | kubectl diff -f -
  outrigger check --pre      whether it can be installed
  outrigger check            whether it is well
`,
    )
    .action((options: InstallOptions) => install(options))
}

/** The namespace that is meant is the control plane's own, by -n. */
export function withoutSystemNamespace(command: Command): Command {
  const option = command.options.find(({ long }) => long === '--system-namespace')
  option?.hideHelp()
  return command
}

async function install(options: InstallOptions): Promise<void> {
  const { helm, namespace = inSystem.namespace, timeout } = options
  const values = [
    ...options.values.flatMap((file) => ['--values', file]),
    ...options.set.flatMap((value) => ['--set', value]),
    ...options.setString.flatMap((value) => ['--set-string', value]),
  ]
  const crds = options.crds ? chartFolder(crdsRelease) : undefined
  const chart = chartFolder(release)
  if (options.dryRun) {
    // Helm makes the namespace itself; kubectl must be told.
    process.stdout.write(`---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: ${namespace}\n`)
    if (crds !== undefined)
      await runHelm({
        helm,
        args: ['template', crdsRelease, crds, '--include-crds', '--namespace', namespace],
        stdout: 'stdout',
      })
    await runHelm({
      helm,
      args: ['template', release, chart, '--include-crds', '--namespace', namespace, ...values],
      stdout: 'stdout',
    })
    return
  }
  const cluster = helmCluster(options)
  const where = [...cluster, '--namespace', namespace, '--create-namespace', '--wait', '--timeout', timeout]
  const keep = options.resetValues ? '--reset-values' : '--reset-then-reuse-values'
  if (crds !== undefined) {
    say('kinds (CRDs) of outrigger.dev')
    await runHelm({ helm, args: ['upgrade', '--install', crdsRelease, crds, ...where], stdout: 'stderr' })
  }
  say(`control plane in namespace ${namespace}`)
  await runHelm({ helm, args: ['upgrade', '--install', release, chart, ...where, keep, ...values], stdout: 'stderr' })
  const flag = namespace === inSystem.namespace ? '' : ` --system-namespace ${namespace}`
  process.stderr.write(
    `\ninstalled. Is all well? outrigger check${flag}\n` +
      `mesh a namespace:      kubectl label namespace NAMESPACE outrigger.dev/inject=enabled\n`,
  )
}

function say(what: string): void {
  process.stderr.write(`installing: ${what}\n`)
}

function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text]
}
