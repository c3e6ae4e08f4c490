import type { DocumentOf } from '../../src/api/documents/document.ts'

/** One port of a Service. */
export type ServicePortValue = DocumentOf<'Service'>['value']['spec']['ports'][number]

/** The ports that the mesh carries: TCP. */
export function meshPorts(service: DocumentOf<'Service'>): readonly ServicePortValue[] {
  return service.value.spec.ports.filter((port) => port.protocol === 'TCP')
}

/** "80 (http), 9090": for messages. */
export function portList(service: DocumentOf<'Service'>): string {
  const ports = meshPorts(service).map((port) =>
    port.name === undefined ? `${port.port}` : `${port.port} (${port.name})`,
  )
  return ports.length === 0 ? 'none' : ports.join(', ')
}
