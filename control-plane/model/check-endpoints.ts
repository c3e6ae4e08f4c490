import { isIP } from 'node:net'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { type Problem, problemAt } from '../../src/api/documents/problem.ts'
import { serviceNameLabel } from '../../src/api/policy/endpoint-slice.ts'
import { dangling } from './dangling.ts'
import { objectKey } from './document-key.ts'
import { podReference, serviceOf } from './endpoints.ts'
import type { MeshModel } from './mesh-model.ts'
import { meshPorts } from './service-ports.ts'

type Slice = DocumentOf<'EndpointSlice'>

/** Who first claimed an `ADDRESS:PORT`. */
interface Claim {
  readonly pod: string
  readonly slice: Slice
}

/** What is wrong with the addresses behind Services. */
export function checkEndpoints(model: MeshModel): Problem[] {
  const problems: Problem[] = []
  const claims = new Map<string, Claim>()
  const portNames = portNamesByService(model)
  for (const slice of model.index.all('EndpointSlice')) {
    problems.push(...checkService(model, slice, portNames), ...checkAddresses(slice), ...checkPods(model, slice))
    problems.push(...checkClaims(slice, claims))
  }
  return problems
}

/** The port names of all slices of a Service together: a Service may have one slice for each of its ports. */
function portNamesByService(model: MeshModel): ReadonlyMap<string, ReadonlySet<string>> {
  const names = new Map<string, Set<string>>()
  for (const slice of model.index.all('EndpointSlice')) {
    const service = serviceOf(model.index, slice)
    if (service === undefined) continue
    const known = names.get(objectKey(service)) ?? new Set<string>()
    names.set(objectKey(service), known)
    for (const port of slice.value.ports) known.add(port.name ?? '')
  }
  return names
}

function checkService(model: MeshModel, slice: Slice, portNames: ReadonlyMap<string, ReadonlySet<string>>): Problem[] {
  const name = slice.value.metadata.labels?.[serviceNameLabel]
  if (name === undefined) {
    const message = `no label ${serviceNameLabel}: the slice belongs to no Service`
    return [problemAt(slice, ['metadata', 'labels'], { code: 'dangling-reference', message })]
  }
  const service = serviceOf(model.index, slice)
  if (service === undefined) {
    const path = ['metadata', 'labels', serviceNameLabel]
    return [dangling(model.index, slice, path, { kind: 'Service', namespace: slice.namespace, name })]
  }
  // What Kubernetes writes for a Service whose selector has no Pods now, one scaled to nothing say.
  if (slice.value.endpoints.length === 0 && slice.value.ports.length === 0) return []
  const names = portNames.get(objectKey(service)) ?? new Set<string>()
  return meshPorts(service)
    .filter((port) => !names.has(port.name ?? ''))
    .map((port) => {
      const label = port.name === undefined ? 'without a name' : `named ${port.name}`
      const have = [...names].map((n) => (n === '' ? '(no name)' : n)).join(', ') || 'none'
      const message = `no port ${label} for port ${port.port} of Service ${objectKey(service)}; ports here: ${have}`
      return problemAt(slice, ['ports'], { code: 'missing-port', message })
    })
}

function checkAddresses(slice: Slice): Problem[] {
  const { addressType, endpoints } = slice.value
  if (addressType === 'FQDN') {
    const message = 'addressType FQDN is not read: the mesh does not resolve names of endpoints'
    return [problemAt(slice, ['addressType'], { code: 'unsupported-address', message, expected: 'IPv4 or IPv6' })]
  }
  const family = addressType === 'IPv4' ? 4 : 6
  return endpoints.flatMap((endpoint, at) =>
    isIP(endpoint.addresses[0]!) === family
      ? []
      : [
          problemAt(slice, ['endpoints', at, 'addresses', 0], {
            code: 'unsupported-address',
            message: `"${endpoint.addresses[0]}" is not an ${addressType} address`,
          }),
        ],
  )
}

function checkPods(model: MeshModel, slice: Slice): Problem[] {
  const problems: Problem[] = []
  for (const [at, endpoint] of slice.value.endpoints.entries()) {
    const ref = podReference(slice, endpoint)
    if (ref === undefined || model.index.find('Pod', ref.namespace, ref.name) !== undefined) continue
    problems.push(dangling(model.index, slice, ['endpoints', at, 'targetRef', 'name'], { kind: 'Pod', ...ref }))
  }
  return problems
}

/** One address and port leads to one Pod: two would each have to show the other's identity. */
function checkClaims(slice: Slice, claims: Map<string, Claim>): Problem[] {
  const problems: Problem[] = []
  for (const [at, endpoint] of slice.value.endpoints.entries()) {
    const ref = podReference(slice, endpoint)
    if (ref === undefined) continue
    for (const { port } of slice.value.ports) {
      if (port === undefined || port === null) continue
      const address = `${endpoint.addresses[0]}:${port}`
      const pod = objectKey(ref)
      const first = claims.get(address)
      if (first === undefined) claims.set(address, { pod, slice })
      else if (first.pod !== pod) {
        const { file, line } = first.slice.origin
        const message = `${address} is Pod ${first.pod} already (EndpointSlice ${objectKey(first.slice)}, ${file}:${line})`
        problems.push(problemAt(slice, ['endpoints', at, 'addresses', 0], { code: 'duplicate-endpoint', message }))
        break
      }
    }
  }
  return problems
}
