import { type Command, InvalidArgumentError, Option } from 'commander'
import type { LogFormat, LogLevel } from '../base/log.ts'
import { version } from './version.ts'

interface Options {
  readonly file?: readonly string[]
  readonly kubernetes?: true
  readonly config?: string
  readonly kubeconfig?: string
  readonly context?: string
  readonly stateDir?: string
  readonly host: string
  readonly adminHost?: string
  readonly streamPort: number
  readonly adminPort: number
  readonly webhookPort: number
  readonly trustDomain: string
  readonly certificateLifetime: number
  readonly outboundPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
}

/** Adds `outrigger control-plane run`. */
export function registerControlPlane(program: Command): void {
  program
    .command('control-plane')
    .description('The control plane: reads policy, issues certificates, tells every sidecar what holds.')
    .command('run')
    .description('Run a control plane on folders of YAML. It reads them again whenever a file changes.')
    .option('-f, --file <folders...>', "folders of documents; a later one's document replaces an earlier one's")
    .option('--kubernetes', 'documents, identities and the key from the cluster: what the chart runs')
    .option('--config <file>', 'with --kubernetes: settings, as the chart writes them')
    .option('--kubeconfig <file>', 'with --kubernetes, outside of a Pod: which cluster')
    .option('--context <name>', 'with --kubernetes, outside of a Pod: which context of the kubeconfig')
    .option('--state-dir <folder>', 'key of the authority and of tokens (default: outrigger in your state folder)')
    .option('--host <address>', 'where sidecars connect', '127.0.0.1')
    .option('--admin-host <address>', 'where status and traces are served (default: --host if that is loopback)')
    .option('--stream-port <port>', 'port for sidecars', port, 15_012)
    .option('--admin-port <port>', 'port for status and traces', port, 15_014)
    .option('--webhook-port <port>', 'with --kubernetes: port for injection', port, 15_017)
    .option('--trust-domain <name>', 'root of all identities: spiffe://NAME/ns/...', 'cluster.local')
    .addOption(
      new Option('--certificate-lifetime <duration>', 'life of a workload certificate')
        .argParser(duration)
        .default(86_400_000, '24h'),
    )
    .addOption(
      new Option('--outbound-policy <policy>', 'what happens to a destination that no Service names')
        .choices(['ALLOW_ANY', 'REGISTRY_ONLY'])
        .default('ALLOW_ANY'),
    )
    .addOption(
      new Option('--log-level <level>', 'on stderr').choices(['debug', 'info', 'warn', 'error']).default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'text for people, json (ECS) for programs')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addHelpText(
      'after',
      `
Examples:
  outrigger control-plane run -f examples/shop
  outrigger control-plane run -f policies -f overlay --state-dir /var/lib/outrigger --host 10.0.0.5

It is ready when GET http://127.0.0.1:15014/healthz answers 200.
`,
    )
    .action((options: Options, command: Command) => run(options, command))
}

async function run(options: Options, command: Command): Promise<void> {
  if (options.kubernetes) {
    if (options.file !== undefined) command.error('error: choose one of --file and --kubernetes', { exitCode: 2 })
    await runInCluster(options)
    return
  }
  const folders = options.file
  if (folders === undefined) {
    command.error("error: name a folder of documents with '-f, --file <folders...>', or use --kubernetes", {
      exitCode: 2,
    })
  }
  const [{ runControlPlane }, { defaultStateFolder }, { createLog }, { systemClock }] = await Promise.all([
    import('../../control-plane/main.ts'),
    import('../base/state-folder.ts'),
    import('../base/log.ts'),
    import('../base/clock.ts'),
  ])
  const controlPlane = await runControlPlane({
    folders,
    stateDir: options.stateDir ?? defaultStateFolder(),
    host: options.host,
    ...(options.adminHost === undefined ? {} : { adminHost: options.adminHost }),
    ports: { stream: options.streamPort, admin: options.adminPort },
    trustDomain: options.trustDomain,
    certificateLifetimeMs: options.certificateLifetime,
    outboundPolicy: options.outboundPolicy,
    program: `outrigger ${version}`,
    log: createLog({
      clock: systemClock,
      service: 'outrigger-control-plane',
      level: options.logLevel,
      format: options.logFormat,
    }),
  })
  await untilStopped()
  await controlPlane.stop()
}

async function runInCluster(options: Options): Promise<void> {
  const [{ runClusterControlPlane }, { openCluster }, { parseControlPlaneConfig, readControlPlaneConfig }] =
    await Promise.all([
      import('../../control-plane/cluster-control-plane.ts'),
      import('../../control-plane/kubernetes/cluster.ts'),
      import('../../control-plane/config.ts'),
    ])
  const [{ createLog }, { systemClock }, { inSystem }] = await Promise.all([
    import('../base/log.ts'),
    import('../base/clock.ts'),
    import('../base/kubernetes-names.ts'),
  ])
  const { kubeconfig, context, config } = options
  const replica = process.env['POD_NAME']
  const controlPlane = await runClusterControlPlane({
    cluster: await openCluster({ kubeconfig, context }),
    config:
      config === undefined
        ? parseControlPlaneConfig('injector: {image: outrigger}', 'defaults')
        : await readControlPlaneConfig(config),
    namespace: process.env['POD_NAMESPACE'] ?? inSystem.namespace,
    ...(replica === undefined ? {} : { replica }),
    ports: { stream: options.streamPort, admin: options.adminPort, webhook: options.webhookPort },
    program: `outrigger ${version}`,
    log: createLog({
      clock: systemClock,
      service: 'outrigger-control-plane',
      level: options.logLevel,
      format: options.logFormat,
    }),
  })
  await untilStopped()
  await controlPlane.stop()
}

async function untilStopped(): Promise<void> {
  const stopped = Promise.withResolvers<void>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.resolve())
  await stopped.promise
}

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : -1
  if (value < 0 || value > 65_535) throw new InvalidArgumentError('Expected a port from 0 (any that is free) to 65535.')
  return value
}

function duration(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }
  const match = /^(\d{1,6})(ms|s|m|h)$/.exec(text)
  if (match === null) throw new InvalidArgumentError('Expected a duration such as 24h, 30m, 90s.')
  return Number(match[1]) * (units[match[2] ?? ''] ?? 0)
}
