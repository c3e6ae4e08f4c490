/** Which replica does what only one may do. */
import type { Clock, Timer } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { type Api, ApiError, type ApiObject } from './cluster.ts'

export interface LeadershipOptions {
  readonly api: Api
  readonly namespace: string
  readonly name: string
  /** Name of this replica: its Pod's. */
  readonly identity: string
  readonly clock: Clock
  readonly log: Log
}

// client-go's own defaults (leaderelection.LeaderElectionConfig as the controller manager sets it).
const leaseMs = 15_000
const renewDeadlineMs = 10_000
const retryMs = 2_000
/** Of one request; an API server that hangs must not keep a holder that others think is gone. */
const requestMs = 5_000

interface LeaseSpec {
  readonly holderIdentity?: string
  readonly leaseDurationSeconds?: number
  readonly acquireTime?: string
  readonly renewTime?: string
  readonly leaseTransitions?: number
}

/**
 * Leadership by a coordination.k8s.io Lease, as client-go's leader election: other clocks are not trusted, a holder is
 * gone when its record has not changed for a lease's length by our own clock.
 */
export class Leadership {
  readonly held = new Live(false)
  readonly #options: LeadershipOptions
  readonly #log: Log
  #timer: Timer | undefined
  /** Runs out when the last renewal is too long ago. */
  #deadline: Timer | undefined
  #stopped = false
  #seen = ''
  #seenAt = 0
  #running: Promise<void> | undefined

  private constructor(options: LeadershipOptions) {
    this.#options = options
    this.#log = options.log.named('lease')
  }

  static start(options: LeadershipOptions): Leadership {
    const leadership = new Leadership(options)
    leadership.#look()
    return leadership
  }

  /** Gives the Lease back, so that another replica need not wait for it to run out. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    this.#deadline?.cancel()
    await this.#running
    if (!this.held.current) return
    this.held.set(false)
    try {
      const lease = await this.#options.api.ask('GET', this.#path, { timeoutMs: requestMs })
      const spec = specOf(lease)
      if (spec.holderIdentity !== this.#options.identity) return
      await this.#put(lease, { ...spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#time() })
    } catch (error) {
      this.#log.debug(`the Lease could not be given back: ${messageOf(error)}`)
    }
  }

  get #path(): string {
    const { namespace, name } = this.#options
    return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`
  }

  #time(): string {
    // MicroTime: the API wants six digits.
    return new Date(this.#options.clock.wall()).toISOString().replace('Z', '000Z')
  }

  #look(): void {
    this.#running = this.#tryOnce().then(() => {
      if (this.#stopped) return
      const { clock } = this.#options
      this.#timer = clock.after(retryMs * (0.9 + 0.2 * clock.random()), () => this.#look())
    })
  }

  /** Never rejects. */
  async #tryOnce(): Promise<void> {
    const { identity } = this.#options
    try {
      const won = await this.#acquireOrRenew()
      if (won) this.#holdForAWhile()
      if (won !== this.held.current) this.#log.info(won ? `${identity} leads` : `${identity} does not lead any more`)
      this.held.set(won)
    } catch (error) {
      this.#log.warn(`the Lease cannot be read or written: ${messageOf(error)}`)
    }
  }

  /** Another may have it once it was not renewed for a time; better nobody for a moment than two. */
  #holdForAWhile(): void {
    this.#deadline?.cancel()
    this.#deadline = this.#options.clock.after(renewDeadlineMs, () => {
      if (this.held.current)
        this.#log.warn(`${this.#options.identity} could not renew the Lease and does not lead any more`)
      this.held.set(false)
    })
  }

  async #acquireOrRenew(): Promise<boolean> {
    const { api, namespace, name, identity, clock } = this.#options
    let lease: ApiObject
    try {
      lease = await api.ask('GET', this.#path, { timeoutMs: requestMs })
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error
      const spec = { holderIdentity: identity, leaseDurationSeconds: leaseMs / 1_000, leaseTransitions: 0 }
      const body = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace },
        spec: { ...spec, acquireTime: this.#time(), renewTime: this.#time() },
      }
      return this.#orLost(
        api.ask('POST', this.#path.slice(0, this.#path.lastIndexOf('/')), { body, timeoutMs: requestMs }),
      )
    }
    const spec = specOf(lease)
    const record = JSON.stringify(spec)
    if (record !== this.#seen) {
      this.#seen = record
      this.#seenAt = clock.now()
    }
    const holder = spec.holderIdentity ?? ''
    if (holder === identity) return this.#orLost(this.#put(lease, { ...spec, renewTime: this.#time() }))
    const lasts = (spec.leaseDurationSeconds ?? leaseMs / 1_000) * 1_000
    if (holder !== '' && clock.now() - this.#seenAt < lasts) return false
    return this.#orLost(
      this.#put(lease, {
        holderIdentity: identity,
        leaseDurationSeconds: leaseMs / 1_000,
        acquireTime: this.#time(),
        renewTime: this.#time(),
        leaseTransitions: (spec.leaseTransitions ?? 0) + 1,
      }),
    )
  }

  /** A conflict means that somebody else was faster. */
  async #orLost(written: Promise<unknown>): Promise<boolean> {
    try {
      await written
      return true
    } catch (error) {
      if (error instanceof ApiError && error.status === 409) return false
      throw error
    }
  }

  #put(lease: ApiObject, spec: LeaseSpec): Promise<unknown> {
    return this.#options.api.ask('PUT', this.#path, { body: { ...lease, spec }, timeoutMs: requestMs })
  }
}

function specOf(lease: ApiObject): LeaseSpec {
  return (lease['spec'] as LeaseSpec | undefined) ?? {}
}
