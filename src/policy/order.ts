import type {
  Backend as BackendMessage,
  Fault,
  Rule,
  Service as ServiceMessage,
  Workload,
} from '../api/gen/outrigger_pb.ts'
import type { Backend } from '../balance/backends.ts'
import { MeshError } from '../base/errors.ts'
import type { Layer, Service } from '../base/stack.ts'
import { stack } from '../base/stack.ts'
import type { RequestMatch } from '../route/match.ts'
import { type CompiledMatch, compileRoutes, type RouteTable } from '../route/table.ts'
import { type Try, tryStack } from './attempt.ts'
import { authorize } from './authorize.ts'
import { chooseBackend } from './backend.ts'
import { endpointBreaker, serviceBreaker } from './circuit-breaker.ts'
import { deadline } from './deadline.ts'
import type { InboundEnv, OutboundEnv } from './env.ts'
import { fault, faultOfTry } from './fault.ts'
import { filters } from './filters.ts'
import { mirror } from './mirror.ts'
import { perTryTimeout } from './per-try-timeout.ts'
import { pick } from './pick.ts'
import { redirect } from './redirect.ts'
import { retry } from './retry.ts'

// Outbound, outermost first. Record, rescue and the in-flight limit come before these: src/outbound.ts.

/**
 * Everything between a parsed head and one try, for one Service as seen from one namespace: the route table with a
 * stack for each match. Throws an Error that names rule and part for anything that cannot be compiled.
 */
export function outboundService(service: ServiceMessage, consumerNamespace: string, env: OutboundEnv): CompiledService {
  const table = compileRoutes(service, consumerNamespace)
  const shared = new Map<Rule, Service>()
  for (const match of table.matches) {
    try {
      // Only a rule that replaces prefixes depends on which of its matches was met.
      const own = replacesPrefix(match.rule)
      match.stack = own ? undefined : shared.get(match.rule)
      match.stack ??= outboundRuleStack(match, service, env)
      if (!own) shared.set(match.rule, match.stack)
    } catch (error) {
      throw new Error(`${match.name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  return { table, serve: routed(`${service.namespace}/${service.name}`, table) }
}

export interface CompiledService {
  readonly table: RouteTable
  /** Expects `exchange.servicePort` to be set. */
  readonly serve: Service
}

/** Routing: which rule answers. 404 if none does (HTTPRoute: "no matches"), which is UNIMPLEMENTED in gRPC. */
function routed(service: string, table: RouteTable): Service {
  return (exchange) => {
    const match = table.match(exchange, exchange.servicePort)
    if (match === undefined) {
      const { method, target } = exchange.request
      const isForGrpc = table.matches.some(({ match: { grpc } }) => grpc !== undefined)
      const hint = isForGrpc && !exchange.isGrpc ? ': it is no gRPC request, and a GRPCRoute takes no others' : ''
      return Promise.reject(
        new MeshError('NO_ROUTE', `no route of ${service} matches ${method} ${target}${hint}`, { unsent: true }),
      )
    }
    exchange.route = match.name
    exchange.routePolicy = match.ref
    return match.stack!(exchange)
  }
}

/** The layers of one rule, down to the choice of a backend. */
export function outboundRuleStack(match: CompiledMatch, service: ServiceMessage, env: OutboundEnv): Service {
  const { rule } = match
  const redirection = rule.filters.find(({ filter }) => filter.case === 'redirect')?.filter
  if (redirection?.case === 'redirect') {
    return stack([filters(rule.filters, match.match)], redirect(redirection.value, match.match))
  }
  const faults = [...rule.faults, ...service.faults]
  const backends = rule.backends.map((message) => ({
    message,
    service: backendStack(message, rule, service, faults, match.match, env),
  }))
  return stack(
    [
      // What the route changes is changed once, and every copy and every try sees it.
      filters(rule.filters, match.match),
      // A mirror gets what the backend gets, but not its retries: it is a sample, not a delivery.
      ...mirrors(rule, service, match.match, env),
      // The caller's patience: retries, backoff and the body are all within it.
      deadline(rule.requestTimeoutMs, rule.timeoutRef, env.clock),
    ],
    // Once per request: a canary's share must not depend on how often it fails.
    chooseBackend(backends, rule.ref, env),
  )
}

/** The layers between the choice of a backend and one try at it. */
function backendStack(
  message: BackendMessage,
  rule: Rule,
  service: ServiceMessage,
  faults: readonly Fault[],
  match: RequestMatch,
  env: OutboundEnv,
): Service {
  return perPort(message, service, env, (backend) =>
    stack(
      [
        // Above retry: a header is added once, not once per try.
        filters(message.filters, match),
        // Judges what everything below makes of a try, and pays from the backend's budget.
        retry(rule.retry, backend, env),
        // Within retry, so that a slow endpoint costs one try, not the request.
        perTryTimeout(rule.backendRequestTimeoutMs, rule.backendRequestTimeoutRef, env.clock),
        // Within retry, so that it counts tries, not requests. Above the choice: it is about the whole service.
        serviceBreaker(backend, env),
      ],
      // Within retry, so that the next try goes elsewhere.
      pick(backend, env, endpointTry(backend, faults, env)),
    ),
  )
}

/** The layers below the choice of an endpoint. */
function endpointTry(backend: Backend, faults: readonly Fault[], env: OutboundEnv): Try {
  return tryStack(
    [
      // A bad endpoint is cut off by itself; the choice above passes over it while it rejects.
      endpointBreaker(backend, env),
      // Below retries and breakers by contract: an injected fault is retried, counted and cut off like a real one.
      faultOfTry(faults, env),
    ],
    (exchange, attempt, endpoint) => env.send(exchange, attempt, endpoint.target, backend.connectionPool),
  )
}

// Inbound, outermost first. Record, rescue and the in-flight limit come before these: src/inbound.ts.

/** The layers in front of the local application. Throws an Error for what cannot be compiled. */
export function inboundStack(workload: Workload, env: InboundEnv, local: Service): Service {
  return stack(
    [
      // Nothing may keep a connection of the application for ever.
      deadline(env.deadlineMs ?? 0, undefined, env.clock),
      // Before anything that acts on the request, and before a fault could tell a stranger that the path exists.
      authorize(workload.authorizations, env),
      // Innermost: it stands for the application.
      fault(workload.faults, env),
    ],
    local,
  )
}

function mirrors(rule: Rule, service: ServiceMessage, match: RequestMatch, env: OutboundEnv): (Layer | undefined)[] {
  return rule.filters.map(({ filter }) => {
    if (filter.case !== 'mirror') return undefined
    const message = filter.value.backend
    if (message === undefined) throw new Error('a mirror filter has no backend')
    const send = perPort(message, service, env, (backend) =>
      stack(
        [filters(message.filters, match), serviceBreaker(backend, env)],
        pick(backend, env, endpointTry(backend, [], env)),
      ),
    )
    // An invalid mirror must not harm the request (HTTPRequestMirrorFilter: it is ignored).
    return message.invalid === '' ? mirror(filter.value, send, rule.ref, env) : undefined
  })
}

/** Port 0 of a backend means the port that was called: one stack for each port of the Service. */
function perPort(
  message: BackendMessage,
  called: ServiceMessage,
  env: OutboundEnv,
  make: (backend: Backend) => Service,
): Service {
  const name = `${message.namespace}/${message.name}`
  if (message.invalid !== '') return () => Promise.reject(new MeshError('NO_VALID_BACKEND', message.invalid))
  if (message.port !== 0) return make(env.backends.backend(name, message.port))
  const byPort = new Map(called.ports.map(({ port }) => [port, make(env.backends.backend(name, port))]))
  return (exchange) => {
    const service = byPort.get(exchange.servicePort)
    if (service !== undefined) return service(exchange)
    const what = `${name} has no port ${exchange.servicePort}`
    return Promise.reject(new MeshError('NO_HEALTHY_ENDPOINT', what, { unsent: true }))
  }
}

function replacesPrefix(rule: Rule): boolean {
  const all = [...rule.filters, ...rule.backends.flatMap((backend) => backend.filters)]
  return all.some(({ filter }) => filter.case === 'rewrite' || filter.case === 'redirect')
}
