import { existsSync } from 'node:fs'
import path from 'node:path'
import { program, stateFolder } from '../cluster/state.ts'

/** What test/chart/schemas fetched. */
export const schemasFolder = path.join(stateFolder, 'chart-schemas')

/** What the chart lane lacks on this machine, each with its remedy; empty: it can run. */
export function missingForChart(): string[] {
  const missing: string[] = []
  for (const name of ['helm', 'kubeconform'] as const)
    if (!existsSync(program(name))) missing.push(`no ${name}: test/cluster/build builds it`)
  if (!existsSync(path.join(schemasFolder, 'key')))
    missing.push('no schemas of Kubernetes: test/chart/schemas fetches them')
  return missing
}
