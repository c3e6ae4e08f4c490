/** All pools of one direction, by endpoint and identity. They outlive policy changes. */
import type { ConnectionPool } from '../api/gen/outrigger_pb.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { type Http1Limits, http1Limits } from '../http1/limits.ts'
import { responseRules } from '../http1/response-head.ts'
import { http2Limits } from '../http2/limits.ts'
import type { Connector, Destination } from './connect.ts'
import { Http2Pool } from './http2-pool.ts'
import { Pool } from './pool.ts'
import { defaultPoolLimits, type PoolLimits } from './pool-limits.ts'
import type { PoolShares } from './pool-share.ts'
import type { PoolCount } from './tries.ts'

/** A pool without connections is forgotten after this long. */
const forgetAfterMs = 120_000

/** What the admin API shows of one pool. */
export interface PoolSize extends PoolCount {
  /** Address, identity; `h2` in front where the connections speak HTTP/2. */
  readonly key: string
}

export class Pools {
  readonly #pools = new Map<string, Pool | Http2Pool>()
  readonly #connector: Connector
  readonly #clock: Clock
  readonly #http1: Http1Limits
  readonly #limitsOf = new WeakMap<ConnectionPool, PoolLimits>()
  readonly #sweep: Timer
  #closed = false
  readonly #localAddress: ((to: Destination) => string | undefined) | undefined
  readonly #shares: PoolShares | undefined

  constructor(
    connector: Connector,
    clock: Clock,
    options: {
      readonly http1?: Http1Limits
      readonly localAddress?: (to: Destination) => string | undefined
      /** Limits hold over all threads of this sidecar. */
      readonly shares?: PoolShares | undefined
    } = {},
  ) {
    this.#connector = connector
    this.#clock = clock
    this.#http1 = options.http1 ?? http1Limits
    this.#localAddress = options.localAddress
    this.#shares = options.shares
    this.#sweep = clock.every(1_000, () => this.#checkTime())
  }

  /**
   * The pool for a destination; `limits` of the policy in force replace those of the pool. `http2`: the connections speak
   * it; there is one pool for each protocol.
   */
  pool(to: Destination, limits?: ConnectionPool, http2 = false): Pool | Http2Pool {
    const key = keyOf(to, http2)
    let pool = this.#pools.get(key)
    if (pool === undefined) {
      const options = {
        clock: this.#clock,
        http1: this.#http1,
        http2: http2Limits,
        // A sidecar peer may name its reasons; an application may not speak in the mesh's name.
        rules: responseRules(this.#http1, { dropReserved: to.identity === '' }),
        localAddress: this.#localAddress?.(to),
        shares: this.#shares,
      }
      pool = http2 ? new Http2Pool(to, this.#connector, options) : new Pool(to, this.#connector, options)
      // What comes after the end finds a pool that refuses, not one that nobody will ever close.
      if (this.#closed) pool.close()
      else this.#pools.set(key, pool)
    }
    pool.limits = limits === undefined ? defaultPoolLimits : this.#compiled(limits)
    return pool
  }

  /** For the admin API. */
  sizes(): PoolSize[] {
    return [...this.#pools].map(([key, pool]) => ({ key, ...pool.size }))
  }

  close(): void {
    this.#closed = true
    this.#sweep.cancel()
    for (const pool of this.#pools.values()) pool.close()
    this.#pools.clear()
  }

  #compiled(limits: ConnectionPool): PoolLimits {
    let compiled = this.#limitsOf.get(limits)
    if (compiled === undefined) {
      const d = defaultPoolLimits
      compiled = {
        connectionsMax: limits.connectionsMax || d.connectionsMax,
        pendingRequestsMax: limits.pendingRequestsMax || d.pendingRequestsMax,
        requestsMax: limits.requestsMax || d.requestsMax,
        requestsPerConnectionMax: limits.requestsPerConnectionMax || d.requestsPerConnectionMax,
        connectTimeoutMs: limits.connectTimeoutMs || d.connectTimeoutMs,
        idleTimeoutMs: limits.idleTimeoutMs || d.idleTimeoutMs,
      }
      this.#limitsOf.set(limits, compiled)
    }
    return compiled
  }

  #checkTime(): void {
    const now = this.#clock.now()
    for (const [key, pool] of this.#pools) {
      pool.checkTime(now)
      const { open, waiting } = pool.size
      if (open === 0 && waiting === 0 && now - pool.usedAt > forgetAfterMs) {
        this.#pools.delete(key)
        pool.release()
      }
    }
  }
}

function keyOf(to: Destination, http2: boolean): string {
  if (http2) return to.identity === '' ? `h2 ${to.key}` : `h2 ${to.key} ${to.identity}`
  return to.identity === '' ? to.key : `${to.key} ${to.identity}`
}
