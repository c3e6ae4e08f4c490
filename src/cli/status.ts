import { type Command, Option } from 'commander'
import { request } from 'undici'
import type { ControlPlaneStatus } from '../../control-plane/admin/status.ts'
import type { SidecarStatus } from '../../control-plane/stream/sidecars.ts'
import { systemClock } from '../base/clock.ts'
import { messageOf } from '../base/log.ts'
import { age } from './age.ts'
import type { ClusterOptions } from './cluster/open.ts'
import { addTargetOptions, chooseTarget, sayTarget, type TargetOptions, targetHelp } from './cluster/target.ts'
import { paint, renderTable } from './table.ts'

/** Adds `outrigger status`. */
export function registerStatus(program: Command): void {
  const command = program
    .command('status')
    .description('Who is connected, which revision is in force, what was refused and why, when certificates expire.')
    .addOption(new Option('-o, --output <format>', 'how to print it').choices(['text', 'json']).default('text'))
  addTargetOptions(command)
    .addHelpText(
      'after',
      targetHelp +
        '\nExit codes: 0 all is well; 1 a sidecar is disconnected, behind or refuses something, a document has an error, or\nno control plane answers.\n' +
        '\nExamples:\n  outrigger status\n  outrigger status -o json\n  outrigger status --cluster -n shop\n',
    )
    .action(async (options: TargetOptions & { output: 'text' | 'json' }) => {
      const target = await chooseTarget(options)
      const isOk =
        target.is === 'admin' ? await local(target.address, options) : await inCluster(target.options, options)
      if (!isOk) process.exitCode = 1
    })
}

async function local(admin: string, { output, namespace }: TargetOptions & { output: string }): Promise<boolean> {
  sayTarget(`the control plane at ${admin}`)
  const all = await fetchStatus(admin)
  const sidecars = all.sidecars.filter(
    ({ workload }) => namespace === undefined || workload.startsWith(`${namespace}/`),
  )
  const status = { ...all, sidecars }
  process.stdout.write(
    output === 'json' ? `${JSON.stringify(status, undefined, 2)}\n` : statusText(status, systemClock.wall()),
  )
  return isWell(status)
}

async function inCluster(cluster: ClusterOptions, { output }: { output: string }): Promise<boolean> {
  const [{ clusterStatusText, fetchClusterStatus }, { isClusterWell }, { withCluster }] = await Promise.all([
    import('./cluster/status.ts'),
    import('./cluster/merged-status.ts'),
    import('./cluster/open.ts'),
  ])
  return withCluster(cluster, async (opened) => {
    sayTarget(`every replica in namespace ${opened.systemNamespace} of ${opened.name}`)
    const status = await fetchClusterStatus(opened, cluster)
    const nowMs = systemClock.wall()
    process.stdout.write(
      output === 'json'
        ? `${JSON.stringify(status, undefined, 2)}\n`
        : clusterStatusText(status, {
            sidecars: (sidecars) => sidecarTable(sidecars, nowMs),
            details: (all) => [...rejections(all.sidecars), ...problems(all), ...refusals(all)],
          }),
    )
    return isClusterWell(status)
  })
}

/** What the control plane says of itself and its sidecars. Throws an Error that names the remedy when none answers. */
export async function fetchStatus(admin: string): Promise<ControlPlaneStatus> {
  const base = /^https?:\/\//.test(admin) ? admin : `http://${admin}`
  const { statusCode, body } = await request(new URL('/status', base), {
    headersTimeout: 5_000,
    bodyTimeout: 5_000,
  }).catch((cause: unknown) => {
    throw new Error(
      `no control plane answers at ${base} (${messageOf(cause)}): start one with 'outrigger up DIR', name it with --admin, or a cluster with --cluster`,
      {
        cause,
      },
    )
  })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${base}/status answered ${statusCode}: ${text.trim()}`)
  try {
    return JSON.parse(text) as ControlPlaneStatus
  } catch (cause) {
    throw new Error(`${base} is not a control plane: it answered no JSON`, { cause })
  }
}

/** Everyone who is known is connected and obeys what is written. */
export function isWell(status: ControlPlaneStatus): boolean {
  return (
    status.synced &&
    status.sidecars.every((sidecar) => sidecar.connected && sidecar.inSync && sidecar.rejected.length === 0) &&
    status.sources.every((source) => source.problems.every((problem) => problem.severity !== 'error'))
  )
}

/** For people: one line on the control plane, a row per sidecar, then what is refused and why. */
export function statusText(status: ControlPlaneStatus, nowMs: number): string {
  const { revision, trustDomain, sidecars, sources, program } = status
  const documents = sources.reduce((sum, source) => sum + source.documents, 0)
  const lines = [
    `${program}: revision ${revision}, ${documents} documents, trust domain ${trustDomain}, ` +
      `${sidecars.filter((sidecar) => sidecar.connected).length} of ${sidecars.length} sidecars connected`,
  ]
  if (!status.synced) lines.push(paint('yellow', 'not every source has been read yet: nothing is published'))
  lines.push('', sidecars.length === 0 ? 'No sidecar has connected.' : sidecarTable(sidecars, nowMs, revision))
  lines.push(...rejections(sidecars), ...problems(status), ...refusals(status))
  return `${lines.join('\n')}\n`
}

/** A row for each sidecar. Each replica of a cluster counts revisions of its own, so there they come with the sidecar. */
function sidecarTable(
  sidecars: readonly (SidecarStatus & { readonly replica?: string; readonly revision?: number })[],
  nowMs: number,
  revision = 0,
): string {
  const isPlaced = sidecars.some(({ replica }) => replica !== undefined)
  return renderTable(
    [
      { title: 'WORKLOAD' },
      { title: 'CONNECTED' },
      ...(isPlaced ? [{ title: 'REPLICA' }] : []),
      { title: 'REVISION', align: 'right' },
      { title: 'RESOURCES', align: 'right' },
      { title: 'REJECTED', align: 'right' },
      { title: 'CERTIFICATE' },
      { title: 'PROGRAM', widthMax: 24 },
      { title: 'IDENTITY' },
    ],
    sidecars.map((sidecar) => [
      sidecar.workload,
      sidecar.connected ? `yes, ${age(nowMs - sidecar.since)}` : paint('red', `no, for ${age(nowMs - sidecar.since)}`),
      ...(isPlaced ? [sidecar.replica ?? ''] : []),
      sidecar.inSync
        ? String(sidecar.ackedRevision)
        : paint('yellow', `${sidecar.ackedRevision} of ${sidecar.revision ?? revision}`),
      String(sidecar.subscribed),
      sidecar.rejected.length === 0 ? '0' : paint('red', String(sidecar.rejected.length)),
      certificate(sidecar.certificateExpiresAt - nowMs),
      sidecar.program,
      sidecar.identity,
    ]),
  )
}

function rejections(sidecars: readonly SidecarStatus[]): string[] {
  const lines = sidecars.flatMap(({ workload, rejected }) =>
    rejected.map(({ resource, reason }) => `  ${workload}: ${resource}: ${reason}`),
  )
  return lines.length === 0
    ? []
    : ['', paint('red', 'Rejected by a sidecar (its last good version stays in force):'), ...lines]
}

function problems(status: Pick<ControlPlaneStatus, 'sources'>): string[] {
  const lines = status.sources.flatMap((source) =>
    source.problems.map(
      ({ severity, file, line, column, message, suggestion }) =>
        `  ${severity}: ${line === 0 ? file : `${file}:${line}:${column}`}: ${message}${suggestion === undefined ? '' : ` (did you mean '${suggestion}'?)`}`,
    ),
  )
  return lines.length === 0
    ? []
    : ['', 'Documents (what has an error is not in force; its last good version stays):', ...lines]
}

function refusals(status: Pick<ControlPlaneStatus, 'certificateRefusals'>): string[] {
  const causes = Object.entries(status.certificateRefusals).map(([cause, count]) => `${count} ${cause}`)
  return causes.length === 0 ? [] : ['', `Certificates refused since the start: ${causes.join(', ')}`]
}

function certificate(leftMs: number): string {
  if (leftMs <= 0) return paint('red', 'expired')
  return leftMs < 3_600_000 ? paint('yellow', `${age(leftMs)} left`) : `${age(leftMs)} left`
}
