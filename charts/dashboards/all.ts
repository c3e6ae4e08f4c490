import { controlPlane } from './control-plane.ts'
import type { Dashboard } from './dashboard.ts'
import { mesh } from './mesh.ts'
import { service } from './service.ts'
import { workload } from './workload.ts'

export const dashboards: readonly Dashboard[] = [mesh, service, workload, controlPlane]
