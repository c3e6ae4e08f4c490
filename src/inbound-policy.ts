/** The policy of this workload, compiled: what the inbound path asks it. */
import { create } from '@bufbuild/protobuf'
import {
  type Authorization,
  MtlsMode,
  OperationSchema,
  type PolicyRef,
  Protocol,
  type ProxyProtocol,
  type Workload,
} from './api/gen/outrigger_pb.ts'
import { addressBlocks } from './base/address-blocks.ts'
import { noBody } from './base/body.ts'
import { Response } from './base/exchange.ts'
import { type Service, stack } from './base/stack.ts'
import { authorize } from './policy/authorize.ts'
import type { InboundEnv } from './policy/env.ts'
import { inboundStack } from './policy/order.ts'

/** Load balancers whose PROXY headers are believed, and must be there. */
export interface TrustedProxies {
  readonly ref: PolicyRef | undefined
  readonly ports: ReadonlySet<number>
  readonly has: (address: string) => boolean
}

export interface InboundPolicy {
  readonly message: Workload
  readonly http: Service
  readonly connection: Service
  readonly proxies: readonly TrustedProxies[]
}

/** Throws for what cannot be put in force. */
export function compileInbound(message: Workload, env: InboundEnv, local: Service): InboundPolicy {
  return {
    message,
    http: inboundStack(message, env, local),
    connection: stack([authorize(message.authorizations.map(forConnection), env)], () =>
      Promise.resolve(new Response(200, '', [], noBody)),
    ),
    proxies: message.proxyProtocol.map(trustedProxies),
  }
}

/** Throws if the resource cannot be put in force; called before it is accepted. */
export function checkWorkload(message: Workload, env: InboundEnv): void {
  compileInbound(message, env, () => Promise.reject(new Error('not served')))
}

/**
 * A policy as it holds for an opaque connection, which has no method, path or host (Istio's rule for TCP): an ALLOW rule
 * that asks for one does not hold; a DENY rule holds without it, or a client could stay silent until it is taken for
 * opaque and then speak HTTP past the rule.
 */
function forConnection(policy: Authorization): Authorization {
  if (!policy.deny) return policy
  const rules = policy.rules.map((rule) => ({
    ...rule,
    operations: rule.operations.map(({ ports, notPorts }) => create(OperationSchema, { ports, notPorts })),
  }))
  return { ...policy, rules }
}

function trustedProxies({ ref, ports, from }: ProxyProtocol): TrustedProxies {
  return { ref, ports: new Set(ports), has: addressBlocks(from) }
}

export function modeOf(message: Workload, port: number): MtlsMode {
  const mode = message.portMtls[port] ?? message.mtls
  return mode === MtlsMode.UNSPECIFIED ? MtlsMode.PERMISSIVE : mode
}

export function protocolOf(message: Workload, port: number): Protocol {
  return message.ports.find((known) => known.port === port)?.protocol ?? Protocol.UNSPECIFIED
}
