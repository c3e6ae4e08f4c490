/** The authority's key in a Secret, so that every replica signs with the same one; and its rotation. */
import type { Timer } from '../../src/base/clock.ts'
import { rotationMarks } from '../../src/base/kubernetes-names.ts'
import type { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { Authority, type AuthoritySettings } from './authority.ts'
import { type AuthorityState, nextState, type Phase, type RotationSettings } from './rotation.ts'
import { type AuthorityPem, makeRoot, Signer } from './signer.ts'

/** A Secret as the API gives it: data in base64. */
export interface SecretObject {
  readonly data: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly resourceVersion: string
}

/** The calls that are needed; the wiring makes them of the API server. */
export interface SecretStore {
  /** `NAMESPACE/NAME`, for messages. */
  readonly name: string
  read(): Promise<SecretObject | undefined>
  /** False: somebody else made it in the meantime. */
  create(secret: Pick<SecretObject, 'data' | 'annotations'>): Promise<boolean>
  /** False: somebody else changed it since `resourceVersion`. */
  replace(secret: SecretObject): Promise<boolean>
  /** Calls with each version of it, and with undefined when it is gone, until disposed. */
  watch(heard: (secret: SecretObject | undefined) => void): Disposable
}

export interface AuthoritySecretOptions extends AuthoritySettings {
  readonly log: Log
  /** What all replicas go by. */
  readonly store: SecretStore
  /** Somebody else's authority, as cert-manager keeps it (tls.crt, tls.key, ca.crt); undefined: ours. */
  readonly source: SecretStore | undefined
  readonly announceMs: number
  readonly isLeader: Live<boolean>
}

export const secretKeys = { key: 'tls.key', certificate: 'tls.crt', trustBundle: 'ca.crt' } as const
const nextKeys = { key: 'next.key', certificate: 'next.crt', trustBundle: 'next-ca.crt' } as const

const lookMs = 30_000
/** Leaves are backdated and clocks differ: an old root is kept for a little longer than its last leaf. */
const retainMarginMs = 10 * 60_000
const renewBeforeMs = 90 * 86_400_000

/** Keeps an Authority as its Secret says, and, while it leads, the Secret as the rotation wants it. */
export class AuthoritySecret {
  readonly authority: Authority
  readonly #options: AuthoritySecretOptions
  readonly #log: Log
  readonly #timer: Timer
  readonly #watching: Disposable[]
  /** As it was heard last; undefined: it is gone. */
  #secret: SecretObject | undefined
  /** The last that was in order. */
  #good: SecretObject
  #source: AuthorityPem | undefined
  #running: Promise<void> = Promise.resolve()
  #told = ''
  #stopped = false

  private constructor(options: AuthoritySecretOptions, authority: Authority, first: SecretObject) {
    this.#options = options
    this.#log = options.log.named('authority')
    this.authority = authority
    this.#secret = first
    this.#good = first
    const { store, source, clock, isLeader } = options
    this.#watching = [
      store.watch((secret) => this.#queue(() => this.#heard(secret))),
      isLeader.subscribe(() => this.#queue(() => this.#look())),
    ]
    if (source !== undefined)
      this.#watching.push(source.watch((secret) => this.#queue(() => this.#heardSource(secret))))
    const everyMs = Math.max(1_000, Math.min(lookMs, options.announceMs))
    this.#timer = clock.every(everyMs, () => this.#queue(() => this.#look()))
  }

  /** Reads it, or makes it. Throws an Error that names the remedy when there is none and none may be made. */
  static async open(options: AuthoritySecretOptions): Promise<AuthoritySecret> {
    const { store, source } = options
    let secret = await store.read()
    if (secret === undefined) {
      const first = source === undefined ? await makeRoot(options) : await readSource(source)
      const trustBundle = first.trustBundle ?? first.certificate
      await Signer.fromPem(first, options.clock.wall()).catch((error: unknown) => {
        throw new Error(`the Secret ${source?.name} is no authority: ${messageOf(error)}`, { cause: error })
      })
      const signing = { ...first, trustBundle }
      await store.create(print({ signing, next: undefined, phase: { is: 'steady' }, asked: false }))
      // Read back, whoever made it: what the others will read is what counts.
      secret = await store.read()
      if (secret === undefined) throw new Error(`the Secret ${store.name} was made and is gone again`)
    }
    try {
      const authority = await Authority.fromPem(options, parse(secret).signing)
      return new AuthoritySecret(options, authority, secret)
    } catch (error) {
      throw new Error(
        `the Secret ${store.name} is no authority: ${messageOf(error)}; restore it, or delete it to start a new authority (all sidecars must enrol again)`,
        { cause: error },
      )
    }
  }

  /** Where the rotation stands, for status and metrics. */
  get phase(): Phase['is'] {
    return parse(this.#good).phase.is
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer.cancel()
    for (const watching of this.#watching) watching[Symbol.dispose]()
    await this.#running
  }

  /** One thing after the other, in the order of the events. */
  #queue(step: () => Promise<void>): void {
    this.#running = this.#running.then(async () => {
      if (this.#stopped) return
      try {
        await step()
      } catch (error) {
        this.#tell(`the authority cannot be kept up: ${messageOf(error)}`)
      }
    })
  }

  async #heard(secret: SecretObject | undefined): Promise<void> {
    this.#secret = secret
    if (secret !== undefined) await this.#use(secret)
    await this.#look()
  }

  async #use(secret: SecretObject): Promise<void> {
    try {
      const { signing } = parse(secret)
      const before = this.authority.current.current
      await this.authority.use(signing)
      const now = this.authority.current.current
      this.#good = secret
      this.#told = ''
      if (now.signer !== before.signer) this.#log.info('another certificate signs from now on', { signer: now.signer })
      else if (now.trustBundlePem !== before.trustBundlePem) this.#log.info('other roots are trusted from now on')
    } catch (error) {
      this.#tell(`the Secret ${this.#options.store.name} is no authority, the last good one stays: ${messageOf(error)}`)
    }
  }

  async #heardSource(secret: SecretObject | undefined): Promise<void> {
    const { source, clock } = this.#options
    if (secret === undefined) {
      this.#source = undefined
      return
    }
    try {
      const pem = pemOf(secret, secretKeys)
      await Signer.fromPem(pem, clock.wall())
      this.#source = pem
    } catch (error) {
      this.#tell(`the Secret ${source?.name} is no authority and not taken over: ${messageOf(error)}`)
    }
    await this.#look()
  }

  /** While this replica leads, one step of the rotation; what it writes comes back as any change does. */
  async #look(): Promise<void> {
    const { store, isLeader, clock } = this.#options
    if (!isLeader.current) return
    const secret = this.#secret
    if (secret === undefined) {
      // Without it the next replica to start would sign with a root that nobody trusts.
      const { data, annotations } = this.#good
      if (await store.create({ data, annotations }))
        this.#log.error(
          `the Secret ${store.name} was deleted, and is back as it was: stop every replica to start a new authority`,
        )
      return
    }
    if (secret !== this.#good) return
    const step = await nextState(parse(secret), clock.wall(), this.#rotation())
    if (step === undefined) return
    const { data, annotations } = print(step.state)
    const others = Object.fromEntries(
      Object.entries(secret.annotations).filter(([name]) => !Object.values<string>(rotationMarks).includes(name)),
    )
    const merged = { data, annotations: { ...others, ...annotations }, resourceVersion: secret.resourceVersion }
    if (await store.replace(merged)) this.#log.info(`rotation of the root, ${step.state.phase.is}: ${step.why}`)
  }

  #rotation(): RotationSettings {
    const { announceMs, certificateLifetimeMs, source } = this.#options
    return {
      announceMs,
      retainMs: certificateLifetimeMs + retainMarginMs,
      renewBeforeMs,
      source: this.#source,
      makeRoot: source === undefined ? () => makeRoot(this.#options) : undefined,
    }
  }

  #tell(text: string): void {
    if (text !== this.#told) this.#log.error(text)
    this.#told = text
  }
}

async function readSource(store: SecretStore): Promise<AuthorityPem> {
  const secret = await store.read()
  if (secret === undefined) {
    throw new Error(
      `no Secret ${store.name} with the authority's key: have it made (kubernetes.io/tls with ${Object.values(secretKeys).join(', ')}, by a Certificate of cert-manager with isCA: true), or set authority.managed: true`,
    )
  }
  try {
    return pemOf(secret, secretKeys)
  } catch (error) {
    throw new Error(`the Secret ${store.name} is no authority: ${messageOf(error)}`, { cause: error })
  }
}

/** Throws an Error that says what is missing. */
function parse(secret: SecretObject): AuthorityState {
  const signing = pemOf(secret, secretKeys)
  const next = secret.data[nextKeys.key] === undefined ? undefined : pemOf(secret, nextKeys)
  return {
    signing: { ...signing, trustBundle: signing.trustBundle ?? signing.certificate },
    next,
    phase: phaseOf(secret.annotations[rotationMarks.phase], next !== undefined),
    asked: secret.annotations[rotationMarks.ask] !== undefined,
  }
}

function phaseOf(text: string | undefined, hasNext: boolean): Phase {
  if (text === undefined) return { is: 'steady' }
  const [is = '', since = ''] = text.split(' ')
  const sinceMs = Date.parse(since)
  if ((is === 'announced' ? !hasNext : is !== 'switched') || Number.isNaN(sinceMs)) {
    throw new Error(`its annotation ${rotationMarks.phase} is "${text}", which says nothing that fits its data`)
  }
  return { is: is as 'announced' | 'switched', sinceMs }
}

function print({ signing, next, phase, asked }: AuthorityState): Pick<SecretObject, 'data' | 'annotations'> {
  return {
    data: {
      ...encoded(signing, secretKeys),
      ...(next === undefined ? {} : encoded(next, nextKeys)),
    },
    annotations: {
      ...(phase.is === 'steady'
        ? {}
        : { [rotationMarks.phase]: `${phase.is} ${new Date(phase.sinceMs).toISOString()}` }),
      ...(asked ? { [rotationMarks.ask]: 'now' } : {}),
    },
  }
}

type Keys = Readonly<Record<'key' | 'certificate' | 'trustBundle', string>>

function pemOf({ data }: SecretObject, keys: Keys): AuthorityPem {
  const text = (name: string): string | undefined =>
    data[name] === undefined || data[name] === '' ? undefined : Buffer.from(data[name], 'base64').toString('utf8')
  const key = text(keys.key)
  const certificate = text(keys.certificate)
  if (key === undefined || certificate === undefined)
    throw new Error(`it has no ${key === undefined ? keys.key : keys.certificate}`)
  return { key, certificate, trustBundle: text(keys.trustBundle) }
}

function encoded(pem: AuthorityPem, keys: Keys): Record<string, string> {
  const parts = { [keys.key]: pem.key, [keys.certificate]: pem.certificate, [keys.trustBundle]: pem.trustBundle }
  return Object.fromEntries(
    Object.entries(parts).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Buffer.from(value).toString('base64')]],
    ),
  )
}
