/** The mesh itself on the node: Gateway API's CRDs, and the charts of this tree with their images. */
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import type { Cluster } from './cluster.ts'
import { outrigger } from './images.ts'
import { gatewayApiFolder, imagesFolder, root } from './state.ts'

const release = inSystem.name
const crdRelease = `${inSystem.name}-crds`

const inNamespace = ['--namespace', inSystem.namespace, '--create-namespace']

/** Once for each node: nobody takes them away. */
async function installGatewayApi(cluster: Cluster): Promise<void> {
  const crds = gatewayApiCrds().flatMap((file) => ['--filename', file])
  const { status } = await cluster.attempt(['get', ...crds])
  if (status === 0) return
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', ...crds])
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', ...crds])
}

/** Our CRDs, as their chart installs them: helm refuses to take over definitions that were applied by hand. */
export async function installDefinitions(cluster: Cluster): Promise<void> {
  await cluster.helm(['upgrade', '--install', crdRelease, chart('outrigger-crds'), ...inNamespace])
}

export interface MeshOptions {
  /** `--set` values of the chart. */
  readonly values?: Readonly<Record<string, string>>
}

/** Installs it with helm, or upgrades what is there; ready on return. Disposing takes the release away, not the CRDs. */
export async function installMesh(cluster: Cluster, { values = {} }: MeshOptions = {}): Promise<AsyncDisposable> {
  await installGatewayApi(cluster)
  await installDefinitions(cluster)
  const [repository, tag] = outrigger.split(':') as [string, string]
  const set = {
    'image.repository': repository,
    'image.tag': tag,
    'podAnnotations.test-image': `key-${imageKey()}`,
    ...values,
  }
  await cluster.helm([
    'upgrade',
    '--install',
    release,
    chart('outrigger'),
    ...inNamespace,
    '--wait',
    '--timeout',
    '2m',
    ...Object.entries(set).flatMap(([name, value]) => ['--set', `${name}=${value}`]),
  ])
  return {
    [Symbol.asyncDispose]: async () => {
      const { namespace, name, lease } = inSystem
      // In the foreground, so that nobody makes its Pods anew.
      await cluster.helm(['uninstall', release, '--namespace', namespace, '--cascade', 'foreground'])
      const system = cluster.existing(namespace)
      await system.endPods()
      await system.wait(`deployment/${name}`, 'delete')
      // Who was ended at once has not given it back, and the next control plane would wait for its end.
      await system.kubectl(['delete', 'lease', lease, '--ignore-not-found'])
    },
  }
}

/** Its tag stays the same when the image does not: so a release that is there gets new Pods for a new image. */
function imageKey(): string {
  return readFileSync(path.join(imagesFolder, 'outrigger.key'), 'utf8').slice(0, 16)
}

/** Of the experimental channel, which has `retry`. */
function gatewayApiCrds(): string[] {
  const folder = path.join(gatewayApiFolder, 'experimental')
  return globSync('gateway.networking.{,x-}k8s.io_*.yaml', { cwd: folder })
    .filter((name) => !name.includes('_vap_'))
    .map((name) => path.join(folder, name))
}

function chart(name: string): string {
  return path.join(root, 'charts', name)
}
