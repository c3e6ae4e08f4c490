/** Kubernetes Events: what `kubectl describe` and `kubectl get events` show to people who do not read our log. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../src/base/clock.ts'
import { inSystem } from '../../src/base/kubernetes-names.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import type { Api } from './cluster.ts'

/** The object that an event is about. */
export interface Regarding {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid?: string | undefined
}

export interface EventText {
  readonly type: 'Normal' | 'Warning'
  /** One word for machines: `InjectionRefused`. */
  readonly reason: string
  readonly action: string
  readonly note: string
}

export interface EventsOptions {
  readonly api: Api
  /** Name of this replica. */
  readonly replica: string
  readonly clock: Clock
  readonly log: Log
}

/** A controller whose Pods are refused tries for ever: the same is told so often about one object. */
const againMs = 10 * 60_000
const rememberMax = 1_000
/** Of all events of this replica. */
const perSecond = 5
const burst = 25
/** The API's own limit for a note. */
const noteBytesMax = 1_024

/** Tells events, as far as that goes: neither what they cost nor whether they arrive holds anybody up. */
export class Events {
  readonly #options: EventsOptions
  readonly #log: Log
  /** When each was told last. */
  readonly #told = new Map<string, number>()
  #tokens = burst
  #filledAt: number
  #failure = ''

  constructor(options: EventsOptions) {
    this.#options = options
    this.#log = options.log.named('events')
    this.#filledAt = options.clock.now()
  }

  tell(regarding: Regarding, text: EventText): void {
    const key = [regarding.kind, regarding.namespace, regarding.name, text.reason, text.note].join(' ')
    const now = this.#options.clock.now()
    const last = this.#told.get(key)
    if (last !== undefined && now - last < againMs) return
    if (!this.#take(now)) return
    this.#told.delete(key)
    this.#told.set(key, now)
    const oldest = this.#told.keys().next()
    if (this.#told.size > rememberMax && oldest.done !== true) this.#told.delete(oldest.value)
    void this.#write(regarding, text)
  }

  #take(now: number): boolean {
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) / 1_000) * perSecond)
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** Never rejects. */
  async #write(regarding: Regarding, { type, reason, action, note }: EventText): Promise<void> {
    const { api, replica, clock } = this.#options
    const { namespace, name } = regarding
    const body = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: `${name.slice(0, 200)}.${randomBytes(8).toString('hex')}` },
      // MicroTime: the API wants six digits.
      eventTime: new Date(clock.wall()).toISOString().replace('Z', '000Z'),
      reportingController: `outrigger.dev/${inSystem.name}`,
      reportingInstance: replica.slice(0, 128),
      type,
      reason,
      action,
      note: cut(note),
      regarding,
    }
    try {
      await api.ask('POST', `/apis/events.k8s.io/v1/namespaces/${namespace}/events`, { body })
    } catch (error) {
      const failure = messageOf(error)
      if (failure !== this.#failure) this.#log.warn(`an event could not be written: ${failure}`)
      this.#failure = failure
    }
  }
}

function cut(note: string): string {
  const bytes = Buffer.from(note)
  return bytes.length <= noteBytesMax ? note : `${bytes.subarray(0, noteBytesMax - 8).toString('utf8')} ...`
}
