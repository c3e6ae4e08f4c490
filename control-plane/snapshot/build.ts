import type { Document } from '../../src/api/documents/document.ts'
import type { IndexedDocuments } from '../model/document-index.ts'
import { objectKey } from '../model/document-key.ts'
import { meshModel } from '../model/mesh-model.ts'
import type { ModelView } from '../model/model-view.ts'
import { endpointAddresses, serviceAddresses } from './addresses.ts'
import { endpointSet } from './endpoint-set.ts'
import type { ResourceBody } from './entry.ts'
import { Memo } from './memo.ts'
import { meshResource } from './mesh.ts'
import type { MeshSettings } from './mesh-settings.ts'
import { serviceResource } from './service.ts'
import { workloadResource } from './workload.ts'

/**
 * All resources of a mesh by name (as in outrigger.proto), in a fixed order. Pure, and deterministic to the byte: map
 * keys and lists have an order that does not depend on the order of the documents. With the same `memo` as for the set
 * before, what a change does not touch is not made again, and is the very same object.
 */
export function buildSnapshot(
  index: IndexedDocuments,
  settings: MeshSettings,
  memo: Memo = new Memo(),
): Map<string, ResourceBody> {
  memo.begin(meshModel(index, memo.model), settings)
  const resources = new Map<string, ResourceBody>()
  const put = (name: string, of: Document | undefined, make: (view: ModelView) => ResourceBody) =>
    resources.set(name, memo.part(name, of, make))
  put('mesh', undefined, (view) => ({ case: 'mesh', value: meshResource(view, settings) }))
  for (const pod of index.all('Pod')) {
    put(`workload/${objectKey(pod)}`, pod, (view) => ({ case: 'workload', value: workloadResource(view, pod) }))
  }
  const services = index.all('Service')
  for (const service of services) {
    // An ExternalName is an alias in DNS: it has no endpoints and no address of its own.
    if (service.value.spec.type === 'ExternalName') continue
    const name = objectKey(service)
    put(`service/${name}`, service, (view) => ({ case: 'service', value: serviceResource(view, service) }))
    put(`endpoints/${name}`, service, (view) => ({ case: 'endpoints', value: endpointSet(view, service, settings) }))
  }
  // A Service's own address comes before an endpoint's, and of two Services that share one the older gives it its name.
  for (const part of [serviceAddresses, endpointAddresses]) {
    for (const service of services) {
      const found = memo.part(`${part.name}/${objectKey(service)}`, service, (view) => part(view, service, settings))
      for (const [name, body] of found) if (!resources.has(name)) resources.set(name, body)
    }
  }
  return resources
}
