import { create } from '@bufbuild/protobuf'
import { type Client, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { type CertificateRequest, CertificateRequestSchema, type CertificateResponse } from '../api/gen/outrigger_pb.ts'
import { signCertificateMethod } from '../api/services.ts'
import type { Clock, Timer } from '../base/clock.ts'
import { Live } from '../base/live.ts'
import { type Log, messageOf } from '../base/log.ts'
import type { StateFolder } from '../base/state-folder.ts'
import { Backoff } from '../control/backoff.ts'
import { openChannel } from '../control/channel.ts'
import { explainFailure, waitMaxMs } from '../control/failure.ts'
import { type Credentials, certificates, readCredentials, shareRoot } from './credentials.ts'
import { newPrivateKeyPem, signingRequest } from './signing-request.ts'
import { parseSpiffeId } from './spiffe.ts'
import { loadCredentials, storeCredentials } from './stored-credentials.ts'

export interface WorkloadCertificateOptions {
  readonly clock: Clock
  readonly log: Log
  /** host:port of the control plane's stream listener (15012). */
  readonly controlPlane: string
  /** PEM of the root that the control plane is checked against: the only thing that is trusted without proof. */
  readonly rootPem: string
  /** Reads it anew: a root that is replaced while the control plane is away is found there. Default: it never changes. */
  readonly readRoot?: () => Promise<string>
  /** Reads the join token anew for each try, so that a replaced one is seen; undefined when there is none. */
  readonly token: () => Promise<string | undefined>
  /** Who this workload must turn out to be. A service account that is undefined is taken from the token. */
  readonly namespace: string
  readonly serviceAccount: string | undefined
  /** Where key and certificate outlive the process; undefined: nowhere. */
  readonly state: StateFolder | undefined
}

/** For status and readiness. */
export type CertificateStatus =
  | { readonly is: 'waiting'; readonly failure: string | undefined }
  | {
      readonly is: 'held'
      readonly spiffeId: string
      readonly expiresAtMs: number
      readonly failure: string | undefined
    }

/**
 * The workload's certificate and its key, which never leaves this process and its state folder. Proves itself once by join token,
 * afterwards by the certificate; renews at about two thirds of its life; keeps a valid one while the
 * control plane is away; without a valid one it holds none, and then nothing of the mesh runs, least of all in plaintext.
 */
export class WorkloadCertificate implements Disposable {
  /** Undefined until there is a valid certificate, and again once it expired. */
  readonly credentials = new Live<Credentials | undefined>(undefined)
  readonly #options: WorkloadCertificateOptions
  readonly #clock: Clock
  readonly #log: Log
  readonly #backoff: Backoff
  #renewAtMs = 0
  #obtainedAtMs = 0
  /** Told once. */
  #refusedRoots = ''
  #failure: string | undefined
  #timer: Timer | undefined
  #closed = false

  constructor(options: WorkloadCertificateOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#log = options.log.named('identity')
    this.#backoff = new Backoff(options.clock, 200, 30_000)
  }

  /** Takes a still valid certificate from the state folder, if there is one, and keeps one valid from now on. */
  async start(): Promise<void> {
    const stored = await this.#load()
    if (stored !== undefined) {
      this.#hold(stored.credentials, stored.obtainedAtMs)
      this.#log.info(`certificate of ${stored.credentials.spiffeId} loaded`, { path: this.#options.state?.path })
    }
    this.#tick()
  }

  status(): CertificateStatus {
    const held = this.credentials.current
    return held === undefined
      ? { is: 'waiting', failure: this.#failure }
      : { is: 'held', spiffeId: held.spiffeId, expiresAtMs: held.expiresAtMs, failure: this.#failure }
  }

  /** Resolves once there is a valid certificate. */
  async whenHeld(): Promise<Credentials> {
    return new Promise((resolve) => {
      const watching = this.credentials.subscribe((held) => {
        if (held === undefined) return
        // The first call may come from inside `subscribe`.
        queueMicrotask(() => watching[Symbol.dispose]())
        resolve(held)
      })
    })
  }

  /**
   * The control plane says which roots count from now on. Roots to which our own certificate does not lead are not taken:
   * nobody would accept us any more.
   */
  trust(trustBundlePem: string): void {
    const held = this.credentials.current
    if (this.#closed || held === undefined || trustBundlePem === held.trustBundlePem) return
    if (trustBundlePem === this.#refusedRoots) return
    try {
      this.#replaceRoots(held, trustBundlePem)
    } catch (error) {
      this.#refusedRoots = trustBundlePem
      this.#log.warn(`the new roots are not used: ${messageOf(error)}`)
    }
  }

  /** The control plane cannot be reached: it may have another root by now. Never rejects. */
  async lookForRoots(): Promise<void> {
    await this.#readRoot()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /**
   * Decides by the wall clock, at least once a minute: a laptop that slept, or a clock that was set, moves the wall clock
   * and not the timers.
   */
  #tick(): void {
    if (this.#closed) return
    this.#timer?.cancel()
    const now = this.#clock.wall()
    const held = this.credentials.current
    if (held !== undefined && now >= held.expiresAtMs) {
      this.#log.error(`the certificate of ${held.spiffeId} expired and could not be renewed: mTLS stops until it is`, {
        reason: this.#failure,
      })
      this.credentials.set(undefined)
    }
    if (now >= this.#renewAtMs) {
      void this.#renew()
      return
    }
    const next = Math.min(this.#renewAtMs, this.credentials.current?.expiresAtMs ?? Number.POSITIVE_INFINITY)
    this.#timer = this.#clock.after(Math.min(Math.max(next - now, 1), 60_000), () => this.#tick())
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    let waitMs = 1
    try {
      const credentials = await this.#obtain()
      if (this.#closed) return
      const renewed = this.credentials.current !== undefined
      this.#backoff.reset()
      this.#failure = undefined
      this.#hold(credentials, this.#clock.wall())
      this.#log.info(`certificate of ${credentials.spiffeId} ${renewed ? 'renewed' : 'obtained'}`, {
        'tls.client.not_after': new Date(credentials.expiresAtMs).toISOString(),
      })
      await this.#store(credentials)
    } catch (error) {
      if (this.#closed) return
      waitMs = this.#backoff.next(waitMaxMs(error))
      const failure = explainFailure(error, this.#options.controlPlane, this.#clock)
      // Once per reason: a control plane that is away for an hour is one line, not thousands.
      if (failure !== this.#failure) this.#log.warn(`no certificate from the control plane: ${failure}`)
      this.#failure = failure
    }
    const expiresInMs = (this.credentials.current?.expiresAtMs ?? Number.POSITIVE_INFINITY) - this.#clock.wall()
    if (this.#failure === undefined) this.#tick()
    else this.#timer = this.#clock.after(Math.max(1, Math.min(waitMs, expiresInMs)), () => this.#tick())
  }

  #replaceRoots(held: Credentials, trustBundlePem: string): void {
    const credentials = readCredentials({ ...held, trustBundlePem }, this.#clock)
    this.credentials.set(credentials)
    this.#log.info('other roots are trusted from now on', { roots: certificates(trustBundlePem).length })
    void this.#store(credentials)
  }

  /** The pinned roots as they are now; those that are new are trusted beside the others until the control plane is heard. */
  async #readRoot(): Promise<string> {
    const { readRoot, rootPem } = this.#options
    if (readRoot === undefined) return rootPem
    try {
      const pem = await readRoot()
      const held = this.credentials.current
      if (held !== undefined && !this.#closed) {
        const known = new Set(certificates(held.trustBundlePem).map((root) => root.fingerprint256))
        const added = certificates(pem).filter((root) => !known.has(root.fingerprint256))
        if (added.length > 0) this.#replaceRoots(held, `${held.trustBundlePem}\n${added.map(String).join('')}`)
      }
      return pem
    } catch (error) {
      this.#log.warn(`the trust bundle cannot be read again, the last one stays: ${messageOf(error)}`)
      return rootPem
    }
  }

  #hold(credentials: Credentials, obtainedAtMs: number): void {
    this.#obtainedAtMs = obtainedAtMs
    // Two thirds, give or take 5 %, of the life that was left: what started together does not renew together.
    const lifeMs = credentials.expiresAtMs - obtainedAtMs
    this.#renewAtMs = obtainedAtMs + lifeMs * (0.62 + 0.1 * this.#clock.random())
    this.credentials.set(credentials)
  }

  async #obtain(): Promise<Credentials> {
    const rootPem = await this.#readRoot()
    const held = this.credentials.current
    if (held !== undefined) {
      try {
        return await this.#request(held, undefined, held.trustBundlePem)
      } catch (error) {
        // Another authority, say: the token may still be good.
        if (!isRefusal(error) || (await this.#options.token()) === undefined) throw error
      }
    }
    const token = await this.#options.token()
    if (token === undefined) {
      throw new Error(
        'there is no valid certificate and no join token: make one with `outrigger token NAMESPACE/SERVICEACCOUNT`',
      )
    }
    return this.#request(undefined, token, rootPem)
  }

  async #request(
    held: Credentials | undefined,
    token: string | undefined,
    trustBundlePem: string,
  ): Promise<Credentials> {
    const privateKeyPem = await newPrivateKeyPem()
    const request = create(CertificateRequestSchema, { csr: signingRequest(privateKeyPem) })
    const channel = openChannel({
      address: this.#options.controlPlane,
      trustBundlePem,
      trustDomain: held?.trustDomain,
      own: held,
    })
    try {
      const response = await this.#sign(channel, request, token)
      const credentials = readCredentials(
        {
          privateKeyPem,
          certificateChainPem: response.certificateChain,
          trustBundlePem: response.trustBundle,
        },
        this.#clock,
      )
      this.#checkName(credentials)
      return credentials
    } finally {
      channel.close()
    }
  }

  #sign(channel: Client, request: CertificateRequest, token: string | undefined): Promise<CertificateResponse> {
    const metadata = new Metadata()
    if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
    const { path, requestSerialize, responseDeserialize } = signCertificateMethod
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(requestTimeoutMs, () => {
        reject(new Error(`${this.#options.controlPlane} did not answer within ${requestTimeoutMs / 1000} s`))
        call.cancel()
      })
      const done = (error: ServiceError | null, response?: CertificateResponse): void => {
        timer.cancel()
        if (error !== null) reject(error)
        else if (response === undefined) reject(new Error('the control plane sent no certificate'))
        else resolve(response)
      }
      const call = channel.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, done)
    })
  }

  #checkName(credentials: Credentials): void {
    const { namespace, serviceAccount } = this.#options
    const id = parseSpiffeId(credentials.spiffeId)!
    if (id.namespace === namespace && (serviceAccount === undefined || id.serviceAccount === serviceAccount)) return
    throw new Error(
      `the certificate is for ${id.namespace}/${id.serviceAccount}, this workload is ${namespace}/${serviceAccount ?? '(any)'}: ` +
        'give it the join token of its own service account',
    )
  }

  async #load(): Promise<{ credentials: Credentials; obtainedAtMs: number } | undefined> {
    const { state } = this.#options
    if (state === undefined) return undefined
    try {
      const stored = await loadCredentials(state, this.#clock)
      if (stored === undefined) return undefined
      this.#checkName(stored.credentials)
      if (!shareRoot(stored.credentials.trustBundlePem, this.#options.rootPem)) {
        throw new Error('it is of another authority than the pinned root')
      }
      return stored
    } catch (error) {
      this.#log.warn(`the certificate in ${state.path} is not used: ${messageOf(error)}`)
      return undefined
    }
  }

  async #store(credentials: Credentials): Promise<void> {
    const { state } = this.#options
    if (state === undefined) return
    try {
      await storeCredentials(state, credentials, this.#obtainedAtMs)
    } catch (error) {
      this.#log.warn(`the certificate is kept in memory only: ${messageOf(error)}`)
    }
  }
}

const requestTimeoutMs = 10_000

function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  return error.code === status.UNAUTHENTICATED || error.code === status.PERMISSION_DENIED
}
