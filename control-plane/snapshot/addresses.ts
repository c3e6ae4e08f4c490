import { isIPv6 } from 'node:net'
import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Address, AddressSchema } from '../../src/api/gen/outrigger_pb.ts'
import { objectKey } from '../model/document-key.ts'
import type { ModelView } from '../model/model-view.ts'
import { meshPorts } from '../model/service-ports.ts'
import { endpointMessages } from './endpoint-set.ts'
import type { MeshSettings } from './mesh-settings.ts'
import { serviceVips } from './service.ts'

/** A resource `address/IP:PORT` (IPv6 in brackets): what an original destination means. */
export type NamedAddress = readonly [name: string, body: { readonly case: 'address'; readonly value: Address }]

/** Those of the Service itself. */
export function serviceAddresses(_model: ModelView, service: DocumentOf<'Service'>): NamedAddress[] {
  return serviceVips(service).flatMap((ip) =>
    meshPorts(service).map(({ port }) => named(ip, port, { service: objectKey(service), servicePort: port })),
  )
}

/** Those of its endpoints. */
export function endpointAddresses(
  model: ModelView,
  service: DocumentOf<'Service'>,
  settings: MeshSettings,
): NamedAddress[] {
  return (model.endpoints.get(objectKey(service)) ?? []).flatMap((one) =>
    endpointMessages(model, one, settings).flatMap((endpoint) =>
      Object.entries(endpoint.ports).map(([port, dialled]) =>
        named(one.address, dialled, { service: objectKey(service), servicePort: Number(port), endpoint }),
      ),
    ),
  )
}

function named(ip: string, port: number, address: Parameters<typeof create<typeof AddressSchema>>[1]): NamedAddress {
  // IPv6 in its one short form (RFC 5952), as the sidecar prints an original destination.
  const host = isIPv6(ip) ? new URL(`http://[${ip}]/`).hostname : ip
  return [`address/${host}:${port}`, { case: 'address', value: create(AddressSchema, address) }]
}
