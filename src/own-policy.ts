/** What the control plane says about the mesh and about this workload, as it holds now. */
import type { Mesh, Workload } from './api/gen/outrigger_pb.ts'
import { Live } from './base/live.ts'
import type { PolicySource } from './control/policy-source.ts'
import type { Credentials } from './identity/credentials.ts'
import type { Telemetry } from './telemetry/telemetry.ts'

export class OwnPolicy {
  /** Mesh-wide settings; undefined before the first snapshot. */
  readonly mesh = new Live<Mesh | undefined>(undefined)
  /** Undefined: the control plane has not spoken, or knows no workload of this name. */
  readonly workload = new Live<Workload | undefined>(undefined)

  /** Wants both from now on. `by`: "ns/workload". */
  constructor(source: PolicySource, by: string) {
    source.watch('mesh', (resource) => {
      this.mesh.set(resource?.body.case === 'mesh' ? resource.body.value : undefined)
    })
    source.watch(`workload/${by}`, (resource) => {
      this.workload.set(resource?.body.case === 'workload' ? resource.body.value : undefined)
    })
  }
}

/** Tells telemetry who it speaks for, now and after every change. */
export function describeTo(
  telemetry: Telemetry,
  { mesh, workload }: OwnPolicy,
  credentials: Live<Credentials | undefined>,
): void {
  credentials.subscribe((held) =>
    telemetry.certificateChanged(
      held === undefined ? null : { spiffeId: held.spiffeId, expiresAtMs: held.expiresAtMs },
    ),
  )
  const update = (): void => telemetry.update(workload.current?.telemetry ?? mesh.current?.telemetry)
  mesh.subscribe(update)
  workload.subscribe((message) => {
    if (message !== undefined) {
      const { serviceAccount, canonicalService, canonicalRevision } = message
      telemetry.workloadChanged({ serviceAccount, canonicalService, revision: canonicalRevision })
    }
    update()
  })
}
