import { isIPv6 } from 'node:net'
import { create } from '@bufbuild/protobuf'
import { type Address, AddressSchema } from '../../src/api/gen/outrigger_pb.ts'
import { objectKey } from '../model/document-key.ts'
import type { MeshModel } from '../model/mesh-model.ts'
import { meshPorts } from '../model/service-ports.ts'
import { endpointMessages } from './endpoint-set.ts'
import type { MeshSettings } from './mesh-settings.ts'
import { serviceVips } from './service.ts'

/**
 * The resources `address/IP:PORT` (IPv6 in brackets): what an original destination means. A Service's own address comes
 * before an endpoint's, and of two Services that share an endpoint the older one gives it its name.
 */
export function addressResources(model: MeshModel, settings: MeshSettings): Map<string, Address> {
  const addresses = new Map<string, Address>()
  const put = (ip: string, port: number, address: Address) => {
    const name = addressName(ip, port)
    if (!addresses.has(name)) addresses.set(name, address)
  }
  for (const service of model.index.all('Service')) {
    for (const ip of serviceVips(service)) {
      for (const { port } of meshPorts(service)) {
        put(ip, port, create(AddressSchema, { service: objectKey(service), servicePort: port }))
      }
    }
  }
  for (const service of model.index.all('Service')) {
    for (const one of model.endpoints.get(objectKey(service)) ?? []) {
      for (const endpoint of endpointMessages(model, one, settings)) {
        for (const [port, dialled] of Object.entries(endpoint.ports)) {
          const servicePort = Number(port)
          put(one.address, dialled, create(AddressSchema, { service: objectKey(service), servicePort, endpoint }))
        }
      }
    }
  }
  return addresses
}

/** IPv6 in its one short form (RFC 5952), as the sidecar prints an original destination. */
function addressName(ip: string, port: number): string {
  return `address/${isIPv6(ip) ? new URL(`http://[${ip}]/`).hostname : ip}:${port}`
}
