import { isIP } from 'node:net'
import { create } from '@bufbuild/protobuf'
import type { DocumentOf } from '../../src/api/documents/document.ts'
import { Protocol, type Rule, type Service, ServiceSchema } from '../../src/api/gen/outrigger_pb.ts'
import type { AttachedRoute } from '../model/attachment.ts'
import { objectKey } from '../model/document-key.ts'
import type { ModelView } from '../model/model-view.ts'
import { servicePortProtocol } from '../model/opaque-ports.ts'
import { rulesOf } from '../model/route.ts'
import { meshPorts } from '../model/service-ports.ts'
import { backendPolicy } from './backend-policy.ts'
import { fault } from './fault.ts'
import { defaultRule, routeRule } from './rule.ts'

/** The resource `service/NS/NAME`: how its callers reach it and behave. */
export function serviceResource(model: ModelView, service: DocumentOf<'Service'>): Service {
  const key = objectKey(service)
  const policy = model.backendPolicies.inForce.get(key)
  const opaque = model.workloads.opaque.get(key) ?? []
  return create(ServiceSchema, {
    namespace: service.namespace,
    name: service.name,
    vips: serviceVips(service),
    ports: meshPorts(service).map((one) => ({
      port: one.port,
      name: one.name ?? '',
      protocol: opaque.includes(one.port) ? Protocol.TCP : servicePortProtocol(service, one),
    })),
    rules: rules(model, service, policy?.value.spec.mode === 'Enforce' ? policy : undefined),
    ...(policy !== undefined && { policy: backendPolicy(policy) }),
    faults: (model.faults.get(key) ?? []).map(fault),
  })
}

/** The addresses of the Service itself; a headless one ("None") has none. */
export function serviceVips(service: DocumentOf<'Service'>): string[] {
  const { clusterIP, clusterIPs } = service.value.spec
  const all = clusterIPs === undefined || clusterIPs.length === 0 ? [clusterIP ?? ''] : clusterIPs
  return [...new Set(all.filter((address) => isIP(address) !== 0))]
}

/**
 * Routes first. A port that a producer route controls is left to routes; any other has a rule of its own that sends to
 * the Service, so that a route on one port, or for the callers of one namespace, takes nothing from the others.
 */
function rules(
  model: ModelView,
  service: DocumentOf<'Service'>,
  policy: DocumentOf<'BackendPolicy'> | undefined,
): Rule[] {
  const attached = model.routes.get(objectKey(service)) ?? []
  const routed = attached.flatMap((one) => rulesOf(one.route).map((_, at) => routeRule(model, one, at, policy)))
  const open = meshPorts(service).filter(({ port }) => !isControlled(attached, port))
  const defaults = open.map(({ port }) => defaultRule(service, port, policy))
  const all = [...routed, ...defaults]
  return all.length === 0 ? [defaultRule(service, 0, policy)] : all
}

function isControlled(attached: readonly AttachedRoute[], port: number): boolean {
  return attached.some((one) => one.consumerNamespace === '' && (one.port === 0 || one.port === port))
}
