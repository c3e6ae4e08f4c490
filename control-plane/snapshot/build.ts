import type { DocumentIndex } from '../model/document-index.ts'
import { objectKey } from '../model/document-key.ts'
import { meshModel } from '../model/mesh-model.ts'
import { addressResources } from './addresses.ts'
import { endpointSet } from './endpoint-set.ts'
import type { ResourceBody } from './entry.ts'
import { meshResource } from './mesh.ts'
import type { MeshSettings } from './mesh-settings.ts'
import { serviceResource } from './service.ts'
import { workloadResource } from './workload.ts'

/**
 * All resources of a mesh by name (as in outrigger.proto), in a fixed order. Pure, and deterministic to the byte: map
 * keys and lists have an order that does not depend on the order of the documents.
 */
export function buildSnapshot(index: DocumentIndex, settings: MeshSettings): Map<string, ResourceBody> {
  const model = meshModel(index)
  const resources = new Map<string, ResourceBody>()
  resources.set('mesh', { case: 'mesh', value: meshResource(model, settings) })
  for (const pod of index.all('Pod')) {
    resources.set(`workload/${objectKey(pod)}`, { case: 'workload', value: workloadResource(model, pod) })
  }
  for (const service of index.all('Service')) {
    // An ExternalName is an alias in DNS: it has no endpoints and no address of its own.
    if (service.value.spec.type === 'ExternalName') continue
    const name = objectKey(service)
    resources.set(`service/${name}`, { case: 'service', value: serviceResource(model, service) })
    resources.set(`endpoints/${name}`, { case: 'endpoints', value: endpointSet(model, service, settings) })
  }
  for (const [name, value] of addressResources(model, settings)) resources.set(name, { case: 'address', value })
  return resources
}
