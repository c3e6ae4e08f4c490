/** Helm, which renders the charts. It is not ours to bring: people have the one that they trust. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ClusterOptions } from './cluster/open.ts'

/** A run of helm that ended badly; helm has said why on stderr. */
export class HelmError extends Error {
  override readonly name = 'HelmError'
}

export interface HelmRun {
  /** Program to start: a path, or a name that is looked for on PATH. */
  readonly helm: string
  readonly args: readonly string[]
  /** Where its standard output goes. */
  readonly stdout: 'stdout' | 'stderr'
}

/** Name of the release; the chart's own objects have fixed names. */
export const release = 'outrigger'
export const crdsRelease = 'outrigger-crds'

/** A chart of this package. Throws an Error that names the remedy when it is not there. */
export function chartFolder(name: string): string {
  const path = fileURLToPath(new URL(`../../charts/${name}`, import.meta.url))
  if (existsSync(`${path}/Chart.yaml`)) return path
  throw new Error(
    `the chart ${name} is not in this package (${path}): run the command from a checkout, or after 'npm run build'`,
  )
}

/** Which cluster, in helm's words. */
export function helmCluster({ kubeconfig, context }: ClusterOptions): string[] {
  return [
    ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
    ...(context === undefined ? [] : ['--kube-context', context]),
  ]
}

/** Runs helm to its end. Throws an Error that names the remedy. */
export async function runHelm({ helm, args, stdout }: HelmRun): Promise<void> {
  const child = spawn(helm, [...args], {
    stdio: ['ignore', stdout === 'stdout' ? 'inherit' : process.stderr, 'inherit'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  child.once('error', reject)
  child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)))
  const code = await promise.catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT')
      throw new Error(
        `${helm} is not here: install Helm 3.14 or newer (a single program), or name it with --helm PATH`,
        { cause },
      )
    if (cause.code === 'EACCES') throw new Error(`${helm} cannot be run: no permission`, { cause })
    throw cause
  })
  if (code !== 0) throw new HelmError(`helm ${args[0] ?? ''} failed (exit ${code}): see above`)
}
