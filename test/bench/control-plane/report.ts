import { styleText } from 'node:util'
import type { ControlPlaneVerdict } from '../goals.ts'
import { align, verdictLine } from '../table.ts'
import type { ModelFigures } from './model-figures.ts'
import type { Percentiles } from './percentiles.ts'
import type { Figures } from './run.ts'

/** From this share on, the figures are of a disturbed run. */
const noisyShare = 0.05

/** The whole report as text. */
export function controlPlaneReport(
  figures: Figures,
  model: ModelFigures | undefined,
  verdicts: readonly ControlPlaneVerdict[],
): string {
  const { changes, besideSlowReaders, churn } = figures
  const lines = [
    styleText('bold', `one control plane on one CPU, ${figures.sidecars} sidecars`),
    ...align([
      ['from a written file to the last acknowledgement', 'changes', 'p50 ms', 'p99 ms', 'max ms', ''],
      row('a route that all see', changes.route),
      row('a policy that one workload sees', changes.policy),
      row('endpoints of a Service', changes.endpoints),
      row('a route, beside sidecars that do not read', besideSlowReaders),
      row('a rolling restart, 50 changes/s', churn),
    ]),
    '',
    ...align([
      ['', 'value', ''],
      ['start to published', figures.startSeconds.toFixed(2), 's'],
      ['certificates', figures.certificatesPerSecond.toFixed(0), 'per second'],
      ['CPU of a certificate', figures.cpuMsPerCertificate.toFixed(1), 'ms, its connection included'],
      ['first connection of all at once', figures.connectSeconds.toFixed(2), 's until in sync'],
      ['all connections cut at once', figures.cutSeconds.toFixed(2), 's until in sync'],
      ['killed and started again', figures.restartSeconds.toFixed(2), 's until in sync, its start included'],
      ['CPU at rest', figures.idleCpuPercent.toFixed(1), '% of one CPU'],
      ['CPU of the rolling restart', figures.churnCpuPercent.toFixed(0), '% of one CPU'],
      ['memory of a sidecar', figures.memoryKbPerSidecar.toFixed(0), 'KB of RSS'],
      ['RSS, all connected', figures.rssMb.toFixed(0), 'MB'],
      ['RSS, highest', figures.rssMbMax.toFixed(0), 'MB'],
    ]),
  ]
  if (model !== undefined) lines.push('', ...modelLines(model))
  if (figures.disturbed > noisyShare) {
    const percent = (figures.disturbed * 100).toFixed(0)
    const load = figures.loadAverage.toFixed(1)
    const note = `Others used ${percent} % of the control plane's CPU (load average ${load}); run again on a quiet machine.`
    lines.push('', styleText('yellow', note))
  }
  lines.push('', styleText('bold', 'Goals'), ...verdicts.map(verdictLine))
  return `${lines.join('\n')}\n`
}

function row(name: string, { count, p50, p99, max }: Percentiles): string[] {
  return [name, String(count), p50.toFixed(0), p99.toFixed(0), max.toFixed(0), '']
}

function modelLines(model: ModelFigures): string[] {
  const { pods, services, documents, resources } = model
  const ms = (name: string, value: number): string[] => [name, value.toFixed(0), 'ms CPU']
  return [
    styleText(
      'bold',
      `a mesh of ${pods} Pods and ${services} Services: ${documents} documents, ${resources} resources`,
    ),
    ...align([
      ['', 'value', ''],
      ms('reading of all documents', model.readMs),
      ms('all resources, first time', model.firstMs),
      ms('after a change of a route', model.routeMs),
      ms('after a change of endpoints', model.endpointsMs),
      ms('after a change of a policy for one workload', model.guardMs),
      ms('what is wrong between documents', model.checkMs),
      ['RSS', model.rssMb.toFixed(0), 'MB'],
    ]),
  ]
}
