/** Where the node's files are: the same places that lib.sh names. */
import { homedir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const stateFolder =
  process.env['OUTRIGGER_CLUSTER_DIR'] ??
  path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'outrigger-cluster')

export const imagesFolder = path.join(stateFolder, 'images')

/** Of the running node; goes with it. */
export const runFolder = path.join(stateFolder, 'run')

export const kubeconfig = path.join(stateFolder, 'pki/admin.kubeconfig')

/** Logs of the node's own daemons, of the last node. */
export const logFolder = path.join(stateFolder, 'log')

/** The Gateway API's CRDs: `standard` and `experimental` below it. */
export const gatewayApiFolder = path.join(stateFolder, 'gateway-api')

/** What `build` made for people and tests. */
export type Program = 'kubectl' | 'helm' | 'kubeconform' | 'jaeger' | 'gateway-conformance.test'

export function program(name: Program): string {
  return path.join(stateFolder, 'bin', name)
}

/** A script of this folder. */
export function script(name: 'build' | 'up' | 'down' | 'load'): string {
  return path.join(root, 'test/cluster', name)
}

/** From a pod, a program on this machine is here. */
export const hostAddress = '10.213.0.1'
/** NodePorts, and the API server on 6443. */
export const nodeAddress = '10.213.0.2'
