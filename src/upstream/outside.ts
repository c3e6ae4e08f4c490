/** Hosts outside the mesh (outbound policy ALLOW_ANY): what a name means, and which addresses nobody is helped to reach. */
import { lookup as systemLookup } from 'node:dns/promises'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { Destination } from './connect.ts'

/** How long an answer of DNS is used, in milliseconds: getaddrinfo tells no time to live, and takes a thread of four. */
const answerKeptMs = 5_000
/** While DNS fails, or does not answer within `lookupPatienceMs`, an answer of so long ago is used (Envoy keeps it likewise). */
const answerStaleMs = 600_000
const lookupPatienceMs = 1_000
/** Names whose answers are kept; past it the oldest are forgotten (a client may invent names). */
const answersMax = 1_000

/** What a name means, and when DNS said so. */
interface Meaning {
  readonly address: string
  readonly at: number
}

interface Answer {
  readonly until: number
  readonly meaning: Promise<Meaning>
  /** The last that is known, should the next look-up fail. */
  last: Meaning | undefined
}

export interface OutsideOptions {
  readonly clock: Clock
  /** Ports on which this sidecar itself listens. */
  readonly ownPorts: () => Iterable<number>
  /** Default: the system's resolver. */
  readonly lookup?: (host: string) => Promise<{ readonly address: string }>
}

export class Outside {
  readonly #options: OutsideOptions
  readonly #lookup: (host: string) => Promise<{ readonly address: string }>
  readonly #answers = new Map<string, Answer>()

  constructor(options: OutsideOptions) {
    this.#options = options
    this.#lookup = options.lookup ?? systemLookup
  }

  /**
   * Where to connect, in plaintext. Rejects with UNKNOWN_DESTINATION, or LOOP for this sidecar's own listeners. `captured`: the
   * application itself has dialled that address, and could without us: its cloud's metadata, its node's DNS.
   */
  async find(host: string, port: number, captured = false): Promise<Destination> {
    const address = net.isIP(host) === 0 ? await this.#resolve(host) : host
    const family = net.isIPv6(address) ? 'ipv6' : 'ipv4'
    const place = family === 'ipv6' ? `[${address}]:${port}` : `${address}:${port}`
    // Judged after the name is resolved: a name may be made to mean anything (DNS rebinding).
    if (loopback.check(address, family) || (!captured && neighbours.check(address, family))) {
      throw new MeshError('UNKNOWN_DESTINATION', `${host}:${port} is a local address outside the mesh`)
    }
    for (const own of this.#options.ownPorts()) {
      if (own === port && isOwnAddress(address)) throw new MeshError('LOOP', `${place} is this sidecar itself`)
    }
    return { key: place, address, port, identity: '' }
  }

  async #resolve(host: string): Promise<string> {
    const now = this.#options.clock.now()
    let answer = this.#answers.get(host)
    if (answer === undefined || now >= answer.until) {
      this.#answers.delete(host)
      const last = answer?.last !== undefined && now - answer.last.at < answerStaleMs ? answer.last : undefined
      answer = { until: now + answerKeptMs, meaning: this.#ask(host, last), last }
      if (this.#answers.size >= answersMax) this.#answers.delete(this.#answers.keys().next().value!)
      this.#answers.set(host, answer)
    }
    try {
      answer.last = await answer.meaning
      return answer.last.address
    } catch (cause) {
      if (this.#answers.get(host) === answer) this.#answers.delete(host)
      throw new MeshError('UNKNOWN_DESTINATION', `${host} is no Service of the mesh, and no name that DNS knows`, {
        cause,
      })
    }
  }

  /** `stale` is the answer while DNS has none; that there is no such name is one. */
  #ask(host: string, stale: Meaning | undefined): Promise<Meaning> {
    const { clock } = this.#options
    return new Promise((resolve, reject) => {
      const patience = stale === undefined ? undefined : clock.after(lookupPatienceMs, () => resolve(stale))
      this.#lookup(host).then(
        ({ address }) => {
          patience?.cancel()
          resolve({ address, at: clock.now() })
        },
        (error: NodeJS.ErrnoException) => {
          patience?.cancel()
          if (stale !== undefined && error.code !== 'ENOTFOUND') resolve(stale)
          else reject(error)
        },
      )
    })
  }
}

/** The Pod itself. */
const loopback = new net.BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addSubnet('0.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')
loopback.addAddress('::', 'ipv6')

/** What belongs to this machine or its owner: a proxy to which one names a host may not lead there. */
const neighbours = new net.BlockList()
neighbours.addSubnet('169.254.0.0', 16, 'ipv4')
neighbours.addSubnet('fe80::', 10, 'ipv6')
// Metadata services that are not link-local: EC2 over IPv6, Alibaba, Oracle, Azure's wire server.
neighbours.addAddress('fd00:ec2::254', 'ipv6')
neighbours.addAddress('100.100.100.200', 'ipv4')
neighbours.addAddress('192.0.0.192', 'ipv4')
neighbours.addAddress('168.63.129.16', 'ipv4')

function isOwnAddress(address: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === address))
}
