import type { Clock, Timer } from '../../src/base/clock.ts'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import type { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { patchCaBundle } from '../cluster-stores.ts'
import type { Api } from '../kubernetes/cluster.ts'

/** Somebody may have cleared it (helm upgrade writes what the chart says). */
const recheckMs = 5_000

/** While this replica leads, the API server trusts the webhook's certificate. */
export class CaBundle implements Disposable {
  readonly #api: Api
  readonly #rootPem: () => string
  readonly #isLeader: Live<boolean>
  readonly #log: Log
  readonly #timer: Timer
  readonly #leading: Disposable
  #told = ''
  #running: Promise<void> | undefined

  constructor(api: Api, rootPem: () => string, isLeader: Live<boolean>, clock: Clock, log: Log) {
    this.#api = api
    this.#rootPem = rootPem
    this.#isLeader = isLeader
    this.#log = log.named('inject')
    this.#timer = clock.every(recheckMs, () => this.look())
    this.#leading = isLeader.subscribe(() => this.look())
  }

  /** Now, because the roots have changed. */
  look(): void {
    if (!this.#isLeader.current || this.#running !== undefined) return
    const rootPem = this.#rootPem()
    this.#running = this.#write(rootPem).finally(() => {
      this.#running = undefined
      if (this.#rootPem() !== rootPem) this.look()
    })
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
    this.#leading[Symbol.dispose]()
  }

  /** Never rejects. */
  async #write(rootPem: string): Promise<void> {
    const name = inSystem.webhookConfiguration
    try {
      const outcome = await patchCaBundle(this.#api, name, rootPem)
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
