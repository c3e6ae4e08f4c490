/**
 * One input, read by our engine and by five other parsers behind it. First the engine alone in front of a raw upstream says
 * what it makes of it; whatever it sends on is then sent through the same engine to each of the five, and their count, methods,
 * targets and bodies must be ours. Each time a next request on the same pool must get its own answer.
 */
import { type Arrived, Final, noBody } from './final.ts'
import { Lane, type Passage } from './lane.ts'
import { mutants } from './mutate.ts'
import { type Parser, type ParserServer, parsers, startParsers } from './servers.ts'

export interface PeerFigures {
  /** Requests that it read as we do and handed on. */
  agreed: number
  /** Requests that it refused: it may be stricter. */
  refused: number
}

export interface Figures {
  inputs: number
  /** Inputs of which something was sent on whole. */
  accepted: number
  /** Inputs of which only a beginning was sent on: the client ended in the middle of a body. */
  partial: number
  /** Inputs of which nobody got a byte. */
  rejected: number
  /** Requests that were sent on whole. */
  requests: number
  readonly peers: Record<Parser, PeerFigures>
  readonly disagreements: string[]
}

/** As many inputs are under way at once; each has lanes of its own. */
const workers = 6
const disagreementsMax = 10

export class Differential implements AsyncDisposable {
  readonly figures: Figures
  readonly #servers: readonly ParserServer[]
  readonly #stack: AsyncDisposableStack
  readonly #rigs: readonly Rig[]
  #serial = 0
  /** Marks of requests whose client broke off. */
  readonly #broken = new Set<string>()
  /** What a parser had not handed on when it had answered, by parser and mark: it may do so yet, as Varnish does where its threads race. */
  readonly #refused = new Map<string, Arrived>()

  private constructor(stack: AsyncDisposableStack, servers: readonly ParserServer[], rigs: readonly Rig[]) {
    this.#stack = stack
    this.#servers = servers
    this.#rigs = rigs
    const peers = Object.fromEntries(parsers.map((name) => [name, { agreed: 0, refused: 0 }]))
    this.figures = {
      inputs: 0,
      accepted: 0,
      partial: 0,
      rejected: 0,
      requests: 0,
      peers: peers as Record<Parser, PeerFigures>,
      disagreements: [],
    }
  }

  static async start(): Promise<Differential> {
    await using stack = new AsyncDisposableStack()
    const servers = await startParsers(stack)
    const rigs: Rig[] = []
    for (let i = 0; i < workers; i++) {
      const raw = stack.use(await Final.start())
      const alone = stack.use(await Lane.open(raw.port, raw))
      const lanes: Lane[] = []
      for (const server of servers) lanes.push(stack.use(await Lane.open(server.port, server.final)))
      rigs.push({ alone, lanes })
    }
    return new Differential(stack.move(), servers, rigs)
  }

  /** Tries `count` mutants of a seed; stops early when too many disagree. `told`: hears now and then how far it is. */
  async mutants(seed: number, count: number, told: (figures: Figures) => void = () => {}): Promise<void> {
    const inputs = mutants(seed, count)
    await Promise.all(
      this.#rigs.map(async (rig) => {
        for (const bytes of inputs) {
          if (this.figures.disagreements.length >= disagreementsMax) return
          await this.#try(rig, bytes)
          if (this.figures.inputs % 10_000 === 0) told(this.figures)
        }
      }),
    )
    this.#checkServers()
  }

  /** Tries these inputs, on one rig after the other. */
  async inputs(list: readonly string[]): Promise<void> {
    const rest = list.values()
    await Promise.all(
      this.#rigs.map(async (rig) => {
        for (const bytes of rest) await this.#try(rig, bytes)
      }),
    )
    this.#checkServers()
  }

  async #try(rig: Rig, bytes: string): Promise<void> {
    const { figures } = this
    const mark = String(++this.#serial)
    figures.inputs++
    const wrong = (who: string, what: string): void => {
      figures.disagreements.push(`${who}: ${what}; input ${mark}: ${JSON.stringify(bytes)}`)
    }
    const before = rig.alone.final.bytes
    const ours = await rig.alone.pass(mark, bytes)
    const fault = faultOfOurs(ours, mark, rig.alone.final.bytes - before)
    if (fault !== undefined) wrong('engine', fault)
    for (const problem of rig.alone.final.problems.splice(0)) wrong('engine', problem)
    if (ours.sent.length === 0) {
      figures.rejected++
      return
    }
    const whole = ours.arrived.filter((request) => request !== undefined).length
    figures.requests += whole
    if (whole > 0) figures.accepted++
    else figures.partial++
    if (whole < ours.sent.length) this.#broken.add(`${mark}.${whole}`)
    const next = await rig.alone.sentinel(mark)
    if (next !== undefined) wrong('engine', next)
    await Promise.all(
      rig.lanes.map(async (lane, i) => {
        const name = parsers[i]!
        const theirs = await lane.pass(mark, bytes)
        const difference = compare(ours, theirs, mark, name, figures.peers[name]) ?? (await lane.sentinel(mark))
        if (difference !== undefined) wrong(name, difference)
        for (const [i, own] of ours.arrived.entries())
          if (own !== undefined && theirs.arrived[i] === undefined) this.#refused.set(`${name} ${mark}.${i}`, own)
        for (const problem of lane.final.problems.splice(0)) wrong(name, problem)
      }),
    )
  }

  #checkServers(): void {
    for (const server of this.#servers) {
      server.checkAlive()
      for (const [mark, request] of server.final.arrived) {
        if (this.#broken.has(mark)) continue
        const own = this.#refused.get(`${server.name} ${mark}`)
        const difference = own === undefined ? 'nobody sent it' : differs(server.name, own, request)
        if (difference !== undefined)
          this.figures.disagreements.push(
            `${server.name}: ${mark} came late: ${difference}: ${JSON.stringify(request)}`,
          )
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]()
  }
}

/** How many mutants, and of which seed; both can be said in the environment (test/README.md). */
export function differentialOptions(inputs: number): { readonly seed: number; readonly inputs: number } {
  const { OUTRIGGER_DIFFERENTIAL_SEED: seed, OUTRIGGER_DIFFERENTIAL_INPUTS: count } = process.env
  return { seed: Number(seed ?? 20_261_127), inputs: Number(count ?? inputs) }
}

export function summary({ disagreements, peers, ...counts }: Figures, seed: number): string {
  const named = Object.entries(counts).map(([name, count]) => `${count} ${name}`)
  const each = Object.entries(peers).map(
    ([name, { agreed, refused }]) => `${name} ${agreed} read alike, ${refused} refused`,
  )
  return `seed ${seed}: ${named.join(', ')}; ${each.join('; ')}; ${disagreements.length} disagreements`
}

/** The lanes of one worker. */
interface Rig {
  readonly alone: Lane
  /** In the order of `parsers`. */
  readonly lanes: readonly Lane[]
}

/** What is wrong with the engine's own part, with nobody else's parser behind it. */
function faultOfOurs(
  { sent, answers, arrived, closed, text }: Passage,
  mark: string,
  bytes: number,
): string | undefined {
  const got = JSON.stringify(text.slice(0, 500))
  if (!closed) return `the connection stays open: ${got}`
  if (sent.length === 0 && bytes > 0) return `${bytes} bytes of what was rejected went upstream: ${got}`
  const served = answers.filter(({ seen }) => seen !== undefined)
  const whole = arrived.filter((request) => request !== undefined).length
  if (served.length !== whole) return `${whole} requests arrived, ${served.length} answers came: ${got}`
  // All but the last are whole; only then comes a refusal, if any.
  if (served.some(({ seen }, i) => seen !== `${mark}.${i}` || answers[i]?.seen !== seen))
    return `answers out of order: ${got}`
  if (answers.length > served.length + 1) return `more than one refusal: ${got}`
  if (sent.length > whole + 1) return `${sent.length} requests were begun, ${whole} arrived: ${got}`
  if (
    arrived.some(
      (request, i) =>
        request !== undefined && (request.method !== sent[i]!.method || request.target !== sent[i]!.target),
    )
  )
    return `what was sent is not what arrived: ${JSON.stringify(arrived)}`
  return undefined
}

/** What a parser does to a request that it has read as we have. */
function asPassedOn(by: Parser, request: Arrived): Arrived {
  // It reads the content of a GET, and sends none on.
  if (by === 'varnish' && request.method === 'GET') return { ...request, ...noBody }
  if (by === 'h2o' && request.target === '*') return { ...request, target: '/' }
  return request
}

/** What is different in a request that a parser has handed on from what we make of it. */
function differs(by: Parser, own: Arrived, request: Arrived): string | undefined {
  const expected = asPassedOn(by, own)
  if (request.method !== expected.method || target(by, request) !== target(by, expected)) return 'another request line'
  if (request.bodyBytes !== expected.bodyBytes || request.body !== expected.body) return 'another body'
  return undefined
}

/** Traffic Server leaves out empty parameters, an empty query and all but one of the first slashes. */
function target(by: Parser, request: Arrived): string {
  if (by !== 'trafficserver') return request.target
  return request.target
    .replace(/;+(?=\?|$)/, '')
    .replace(/\?+$/, '')
    .replace(/^\/+/, '/')
}

/**
 * Where another parser has read something else than we have. A refusal of its own is none. Varnish 7.1 ends a request whose
 * client broke off in the middle of its body as if it were whole, whoever the client is: that is not held against our reading.
 */
function compare(ours: Passage, theirs: Passage, mark: string, by: Parser, figures: PeerFigures): string | undefined {
  const seen = (): string =>
    `${JSON.stringify(theirs.text.slice(0, 500))}, ours ${JSON.stringify(ours.arrived)}, theirs ${JSON.stringify(theirs.arrived)}`
  if (!theirs.closed) return `the connection stays open: ${seen()}`
  for (const [i, { seen: mine }] of theirs.answers.entries())
    if (mine !== undefined && mine !== `${mark}.${i}`) return `answer ${i} is to another request: ${seen()}`
  for (const [i, request] of theirs.arrived.entries()) {
    const own = ours.arrived[i]
    if (request === undefined) {
      if (own !== undefined) figures.refused++
      continue
    }
    if (own === undefined) {
      if (by === 'varnish') return undefined
      return `it takes for whole what was not: ${seen()}`
    }
    const difference = differs(by, own, request)
    if (difference !== undefined) return `${difference}: ${seen()}`
    figures.agreed++
  }
  if (theirs.sent.length > ours.sent.length)
    return `${theirs.sent.length} requests sent on, before ${ours.sent.length}: ${seen()}`
  return undefined
}
