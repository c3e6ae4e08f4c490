import { createPrivateKey, webcrypto } from 'node:crypto'
import type { Clock, Timer } from '../../src/base/clock.ts'
import { Live } from '../../src/base/live.ts'
import { type Log, messageOf } from '../../src/base/log.ts'
import { controlPlaneWorkload } from '../../src/base/spiffe.ts'
import type { Authority } from './authority.ts'

/** PEM, in the words of tls.createSecureContext. */
export interface ServerCertificatePem {
  readonly key: string
  readonly cert: string
  readonly ca: string
}

/** The control plane's own certificate, from its own authority; in memory only, replaced at two thirds of its life. */
export class ServerCertificate {
  readonly current: Live<ServerCertificatePem>
  readonly #authority: Authority
  readonly #clock: Clock
  readonly #log: Log
  readonly #dnsNames: readonly string[]
  #timer: Timer | undefined
  #following: Disposable | undefined
  #stopped = false

  private constructor(
    authority: Authority,
    clock: Clock,
    log: Log,
    first: ServerCertificatePem,
    dnsNames: readonly string[],
  ) {
    this.#dnsNames = dnsNames
    this.#authority = authority
    this.#clock = clock
    this.#log = log.named('identity')
    this.current = new Live(first)
  }

  /** `dnsNames`: names by which somebody else than a sidecar calls it, as the API server calls a webhook. */
  static async start(
    authority: Authority,
    clock: Clock,
    log: Log,
    dnsNames: readonly string[] = [],
  ): Promise<ServerCertificate> {
    const { pem, expiresAtMs } = await issue(authority, dnsNames)
    const certificate = new ServerCertificate(authority, clock, log, pem, dnsNames)
    certificate.#renewLater(expiresAtMs)
    certificate.#follow()
    return certificate
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#following?.[Symbol.dispose]()
  }

  /** Other roots count for the next connection; another signer means another certificate. */
  #follow(): void {
    let { signer } = this.#authority.current.current
    this.#following = this.#authority.current.subscribe((now) => {
      if (now.signer !== signer) {
        signer = now.signer
        this.#timer?.cancel()
        void this.#renew()
      } else this.current.set({ ...this.current.current, ca: now.trustBundlePem })
    })
  }

  #renewLater(expiresAtMs: number): void {
    if (this.#stopped) return
    const renewAtMs = this.#clock.wall() + ((expiresAtMs - this.#clock.wall()) * 2) / 3
    const look = (): void => {
      const leftMs = renewAtMs - this.#clock.wall()
      // At least once a minute: a machine that slept, or a clock that was set, moves the wall clock and not the timers.
      if (leftMs > 0) this.#timer = this.#clock.after(Math.min(leftMs, 60_000), look)
      else void this.#renew()
    }
    look()
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    try {
      const { pem, expiresAtMs } = await issue(this.#authority, this.#dnsNames)
      this.current.set(pem)
      this.#renewLater(expiresAtMs)
    } catch (error) {
      this.#log.error(`the control plane's own certificate could not be renewed: ${messageOf(error)}`)
      if (!this.#stopped) this.#timer = this.#clock.after(10_000, () => void this.#renew())
    }
  }
}

async function issue(
  authority: Authority,
  dnsNames: readonly string[],
): Promise<{ pem: ServerCertificatePem; expiresAtMs: number }> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const issued = await authority.issue(
    keys.publicKey,
    { trustDomain: authority.trustDomain, ...controlPlaneWorkload },
    dnsNames,
  )
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' })
  return {
    pem: { key: key.toString(), cert: issued.certificateChainPem, ca: authority.trustBundlePem },
    expiresAtMs: issued.expiresAtMs,
  }
}
