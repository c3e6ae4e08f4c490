/** What one control plane does for a thousand sidecars: the phases, in the order in which they are run. */
import { mkdirSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { type Clock, sleep } from '../../../src/base/clock.ts'
import type { Processes } from '../processes.ts'
import { busySeconds } from '../usage.ts'
import { type ChangeKind, Changes } from './changes.ts'
import { ControlPlaneProcess } from './control-plane-process.ts'
import { Mesh } from './mesh.ts'
import type { ControlPlaneOptions } from './options.ts'
import type { Percentiles } from './percentiles.ts'

export interface ControlPlaneBench {
  readonly clock: Clock
  readonly processes: Processes
  readonly options: ControlPlaneOptions
  /** For the control plane alone. */
  readonly cpu: number
  readonly workFolder: string
  readonly say: (line: string) => void
}

export interface Figures {
  readonly sidecars: number
  /** From the start of the process to the documents published. */
  readonly startSeconds: number
  readonly certificatesPerSecond: number
  readonly cpuMsPerCertificate: number
  /** From the first connection to the last sidecar in sync. */
  readonly connectSeconds: number
  readonly idleCpuPercent: number
  /** Resident memory of the control plane with all sidecars at rest, above what it was with none, for each. */
  readonly memoryKbPerSidecar: number
  readonly rssMb: number
  readonly rssMbMax: number
  /** From the write of the file to the last acknowledgement, milliseconds. */
  readonly changes: Readonly<Record<ChangeKind | 'all', Percentiles>>
  /** The same, of a route, while some sidecars do not read. */
  readonly besideSlowReaders: Percentiles
  /** The same for each change of a rolling restart. */
  readonly churn: Percentiles
  readonly churnCpuPercent: number
  /** From the cut of all connections to the last sidecar in sync. */
  readonly cutSeconds: number
  /** From the SIGKILL of the control plane, which is started again at once, to the last sidecar in sync. */
  readonly restartSeconds: number
  /** Share of the run in which anything else ran on the control plane's CPU. */
  readonly disturbed: number
  readonly loadAverage: number
}

/** Long enough for an answer that misses every goal to be told as a figure. */
const patienceMs = 60_000
const settleMs = 5_000
const churnPerSecond = 50
/** Of a hundred sidecars so many do not read. */
const slowPercent = 2
const slowChanges = 20

export async function runControlPlane(bench: ControlPlaneBench): Promise<Figures> {
  const { clock, options, say, cpu } = bench
  const count = options.sidecars
  const mesh = new Mesh({ pods: count, services: options.services })
  const documents = path.join(bench.workFolder, 'documents')
  mkdirSync(documents)
  mesh.write(documents)
  const control = new ControlPlaneProcess({ ...bench, documents })
  const busyBefore = busySeconds(cpu)
  const startedAt = clock.now()
  const since = (at: number): number => (clock.now() - at) / 1_000

  await control.start()
  const startSeconds = since(startedAt)
  await sleep(clock, settleMs)
  const rssAlone = control.rssMb()
  say(`control plane up after ${startSeconds.toFixed(2)} s, ${rssAlone.toFixed(0)} MB`)

  const fleet = await control.fleet()
  const enrolling = { at: clock.now(), cpu: control.cpuSeconds() }
  await fleet.enrol(mesh)
  const certificatesPerSecond = count / since(enrolling.at)
  const cpuMsPerCertificate = ((control.cpuSeconds() - enrolling.cpu) / count) * 1_000
  say(`${certificatesPerSecond.toFixed(0)} certificates/s, ${cpuMsPerCertificate.toFixed(1)} ms CPU each`)

  const connecting = clock.now()
  fleet.connect()
  await fleet.whenInSync(patienceMs, 'the first connection of all sidecars')
  const connectSeconds = since(connecting)
  say(`${count} sidecars in sync after ${connectSeconds.toFixed(2)} s`)

  await sleep(clock, settleMs)
  const idle = { at: clock.now(), cpu: control.cpuSeconds() }
  await sleep(clock, options.seconds * 1_000)
  const idleCpuPercent = ((control.cpuSeconds() - idle.cpu) / since(idle.at)) * 100
  const rssMb = control.rssMb()
  const memoryKbPerSidecar = ((rssMb - rssAlone) * 1_000) / count
  say(`at rest: ${idleCpuPercent.toFixed(1)} % CPU, ${memoryKbPerSidecar.toFixed(0)} KB for each sidecar`)

  const edits = new Changes(clock, mesh, documents, fleet)
  const changes = await edits.inTurn(options.changes)
  say(`${options.changes} changes: p50 ${changes.all.p50.toFixed(0)} ms, p99 ${changes.all.p99.toFixed(0)} ms`)

  fleet.stall(Math.ceil((count * slowPercent) / 100))
  const besideSlowReaders = await edits.ofRoute(slowChanges)
  fleet.recover()
  await fleet.whenInSync(patienceMs, 'slow readers that read again')
  say(`the same beside slow readers: p99 ${besideSlowReaders.p99.toFixed(0)} ms`)

  const churning = { at: clock.now(), cpu: control.cpuSeconds() }
  const churn = await edits.churn(churnPerSecond, 2 * options.seconds)
  const churnCpuPercent = ((control.cpuSeconds() - churning.cpu) / since(churning.at)) * 100
  say(`rolling restart: p99 ${churn.p99.toFixed(0)} ms, ${churnCpuPercent.toFixed(0)} % CPU`)

  await sleep(clock, settleMs)
  const cutting = clock.now()
  const cut = fleet.whenAllOut()
  fleet.cut()
  await cut
  await fleet.whenInSync(patienceMs, 'sidecars whose connections were cut')
  const cutSeconds = since(cutting)
  say(`all connections cut: in sync after ${cutSeconds.toFixed(2)} s`)

  await sleep(clock, settleMs)
  control.rssMb()
  const killing = clock.now()
  const out = fleet.whenAllOut()
  await control.kill()
  await control.start()
  await out
  await fleet.whenInSync(patienceMs, 'sidecars of a control plane that was killed')
  const restartSeconds = since(killing)
  say(`killed and started again: in sync after ${restartSeconds.toFixed(2)} s`)
  control.rssMb()
  const others = busySeconds(cpu) - busyBefore - control.cpuSeconds()
  const disturbed = Math.max(0, others / since(startedAt))
  fleet.stop()
  await control.stop()
  return {
    sidecars: count,
    startSeconds,
    certificatesPerSecond,
    cpuMsPerCertificate,
    connectSeconds,
    idleCpuPercent,
    memoryKbPerSidecar,
    rssMb,
    rssMbMax: control.rssMbMax,
    changes,
    besideSlowReaders,
    churn,
    churnCpuPercent,
    cutSeconds,
    restartSeconds,
    disturbed,
    loadAverage: loadavg()[0]!,
  }
}
