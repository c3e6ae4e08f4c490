import type { Exchange } from '../base/exchange.ts'
import { grpcMethodOf, grpcStatuses, grpcStatusName, grpcStatusNames } from '../base/grpc.ts'
import { type Metrics, metricList } from './metrics.ts'
import type { Result } from './result.ts'
import type { Direction } from './traffic.ts'

/** What stands for every method that has no name of its own (OpenTelemetry RPC conventions). */
export const otherMethod = '_OTHER'

/** Methods with a series of their own; what is left of the metric's share is for the others, one for each Service. */
const methodsMax = metricList.rpcDuration.seriesMax - 10

/** All that counting one call touches. */
interface Series {
  readonly method: string
  readonly values: readonly string[]
  readonly durationSlot: number
  /** By status; -1: not seen yet. */
  readonly statusSlots: Int32Array
}

/**
 * Counts each finished gRPC call by its method. Methods are the caller's words: one gets a name of its own once an
 * application answered it, and not with UNIMPLEMENTED, and as long as there is room; `_OTHER` stands for the rest.
 */
export class RpcBook {
  readonly #metrics: Metrics
  /** Direction, Service, path of the call. */
  readonly #series = {
    outbound: new Map<string, Map<string, Series>>(),
    inbound: new Map<string, Map<string, Series>>(),
  }
  #methods = 0

  constructor(metrics: Metrics) {
    this.#metrics = metrics
  }

  /** Returns the method's name, or `_OTHER`. */
  add(direction: Direction, exchange: Exchange, result: Result, durationMs: number): string {
    const series = this.#seriesOf(direction, exchange, result)
    const { grpcStatus } = result
    let slot = series.statusSlots[grpcStatus]!
    if (slot === -1) {
      slot = this.#metrics.rpcCalls.slot([...series.values, grpcStatusName(grpcStatus)])
      series.statusSlots[grpcStatus] = slot
    }
    this.#metrics.rpcCalls.add(slot, 1)
    this.#metrics.rpcDuration.observe(series.durationSlot, durationMs / 1_000)
    return series.method
  }

  #seriesOf(direction: Direction, { service, request }: Exchange, result: Result): Series {
    const services = this.#series[direction]
    let methods = services.get(service)
    if (methods === undefined) services.set(service, (methods = new Map()))
    const known = methods.get(request.target)
    if (known !== undefined) return known
    const exists = result.code === '' && result.grpcStatus !== grpcStatuses.UNIMPLEMENTED
    const method = exists && this.#methods < methodsMax ? grpcMethodOf(request.target) : ''
    if (method !== '') {
      this.#methods++
      return this.#make(methods, request.target, direction, service, method)
    }
    return methods.get(otherMethod) ?? this.#make(methods, otherMethod, direction, service, otherMethod)
  }

  #make(methods: Map<string, Series>, key: string, direction: Direction, service: string, method: string): Series {
    const reporter = direction === 'outbound' ? 'source' : 'destination'
    const values = [reporter, service === '' ? 'unknown' : service, method]
    const durationSlot = this.#metrics.rpcDuration.slot(values)
    const series = { method, values, durationSlot, statusSlots: new Int32Array(grpcStatusNames.length).fill(-1) }
    methods.set(key, series)
    return series
  }
}
