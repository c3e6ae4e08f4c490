import type { Clock, Timer } from '../../src/base/clock.ts'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import type { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { patchCaBundle } from '../cluster-stores.ts'
import type { Api } from '../kubernetes/cluster.ts'

/** Somebody may have cleared it (helm upgrade writes what the chart says). */
const recheckMs = 5_000
/** A replica that cannot see it in order must not stay unready for that for ever: sidecars need it, too. */
const patienceMs = 30_000
/** Helm creates the configuration after the Deployment; where nobody does, injection is not wanted. */
const absentPatienceMs = 5_000
/** While this replica waits for it to be in order. */
const firstLooksMs = 500

/** While this replica leads, the API server trusts the webhook's certificate. Every replica knows whether it does. */
export class CaBundle implements Disposable {
  readonly #api: Api
  readonly #rootPem: () => string
  readonly #isLeader: Live<boolean>
  readonly #log: Log
  readonly #timer: Timer
  readonly #early: Timer
  readonly #clock: Clock
  readonly #startedAt: number
  readonly #leading: Disposable
  #told = ''
  #isInOrder = false
  #isAbsent = false
  #running: Promise<void> | undefined

  constructor(api: Api, rootPem: () => string, isLeader: Live<boolean>, clock: Clock, log: Log) {
    this.#api = api
    this.#rootPem = rootPem
    this.#isLeader = isLeader
    this.#log = log.named('inject')
    this.#clock = clock
    this.#startedAt = clock.now()
    this.#timer = clock.every(recheckMs, () => this.look())
    this.#early = clock.every(firstLooksMs, () => {
      if (this.unready() === undefined) this.#early.cancel()
      else this.look()
    })
    this.#leading = isLeader.subscribe(() => this.look())
  }

  /**
   * Why Pods could not be injected yet; undefined when they can. Whoever waits until the control plane is ready may create
   * Pods at once. Later trouble is told and makes nobody unready.
   */
  unready(): string | undefined {
    const waited = this.#clock.now() - this.#startedAt
    if (this.#isInOrder || waited > (this.#isAbsent ? absentPatienceMs : patienceMs)) return undefined
    return `the API server does not trust the webhook yet: ${inSystem.webhookConfiguration} has not its caBundle`
  }

  /** Now, because the roots have changed. */
  look(): void {
    if (this.#running !== undefined) return
    // Who does not lead looks only for its own readiness.
    if (!this.#isLeader.current && this.#isInOrder) return
    const rootPem = this.#rootPem()
    this.#running = this.#write(rootPem).finally(() => {
      this.#running = undefined
      if (this.#rootPem() !== rootPem) this.look()
    })
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
    this.#early.cancel()
    this.#leading[Symbol.dispose]()
  }

  /** Never rejects. */
  async #write(rootPem: string): Promise<void> {
    const name = inSystem.webhookConfiguration
    try {
      const outcome = await patchCaBundle(this.#api, name, rootPem, !this.#isLeader.current)
      this.#isAbsent = outcome === 'absent'
      if (outcome === 'same' || outcome === 'patched') this.#isInOrder = true
      if (outcome === 'patched') this.#log.info(`the webhook ${name} has its caBundle`)
      this.#tell(outcome === 'absent' ? `there is no ${name}: no injection` : '')
    } catch (error) {
      this.#tell(`the webhook's caBundle cannot be written: ${messageOf(error)}`)
    }
  }

  /** Once per reason. */
  #tell(text: string): void {
    if (text !== '' && text !== this.#told) this.#log.warn(text)
    this.#told = text
  }
}
