import type { DocumentOf } from '../../src/api/documents/document.ts'
import { Protocol } from '../../src/api/gen/outrigger_pb.ts'
import { commaList, isPort } from '../../src/base/address-text.ts'
import { marks } from '../../src/base/kubernetes-names.ts'
import { declaredProtocol } from './protocol.ts'
import type { ServicePortValue } from './service-ports.ts'

const none: ReadonlySet<number> = new Set()

/** Ports that an annotation declares opaque: a Pod's own, or a Service's. What is no port is left out; injection refuses it. */
export function opaquePorts(document: DocumentOf<'Pod'> | DocumentOf<'Service'>): ReadonlySet<number> {
  const text = document.value.metadata.annotations?.[marks.opaquePorts]
  if (text === undefined) return none
  return new Set(commaList(text).filter(isPort).map(Number))
}

/** What a Service declares of one of its ports: its annotation first, then `appProtocol` and the name. */
export function servicePortProtocol(
  service: DocumentOf<'Service'>,
  { port, appProtocol, name }: ServicePortValue,
): Protocol {
  return opaquePorts(service).has(port) ? Protocol.TCP : declaredProtocol(appProtocol, name)
}
