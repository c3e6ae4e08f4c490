import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Tokens } from '../../../control-plane/identity/token.ts'
import type { Clock } from '../../base/clock.ts'
import { defaultStateFolder, StateFolder } from '../../base/state-folder.ts'
import type { LoadTarget } from '../load/load-client.ts'
import { switchApp } from './app-client.ts'
import type { Display } from './display.ts'
import { type MeshPlan, planMesh, type WorkloadPlan } from './mesh-plan.ts'
import {
  appPrograms,
  controlPlanePorts,
  controlPlaneProgram,
  type MeshSurroundings,
  sidecarProgram,
  wantedPorts,
} from './mesh-programs.ts'
import { OrphanGuard } from './orphan-guard.ts'
import { PolicyWatch } from './policy-watch.ts'
import { preflight } from './preflight.ts'
import { Program, type ProgramSpec, type UnexpectedEnd } from './program.ts'
import { readDocuments } from './read-documents.ts'
import { answersOk, type Readiness, takesConnections, waitForAll } from './ready.ts'
import type { Stream } from './scenario.ts'
import { sidecarPorts, workloadKey } from './sidecar-client.ts'

export interface MeshOptions {
  readonly folder: string
  readonly overlays: readonly string[]
  readonly stateDir?: string
  /** Loopback address of the control plane. */
  readonly host: string
}

// A cold start of ten processes takes about five seconds on two cores; a minute is a machine that is in trouble.
const readyMs = 60_000
// Sidecars drain for two seconds.
const stopGraceMs = 4_000

/** A mesh that runs: a control plane, and for each Pod its sidecar and its program, each a process of its own. */
export class Mesh implements AsyncDisposable {
  readonly workloads: readonly WorkloadPlan[]
  readonly policy: PolicyWatch
  readonly #plan: MeshPlan
  readonly #controlPlane: Program
  readonly #others: readonly Program[]
  readonly #resources: DisposableStack

  private constructor(
    plan: MeshPlan,
    policy: PolicyWatch,
    controlPlane: Program,
    others: readonly Program[],
    resources: DisposableStack,
  ) {
    this.workloads = plan.workloads
    this.policy = policy
    this.#plan = plan
    this.#controlPlane = controlPlane
    this.#others = others
    this.#resources = resources
  }

  /**
   * Starts everything and waits until it serves. Throws an Error that names the remedy, with nothing left running, when it
   * cannot or when `stopped` is aborted before.
   */
  static async start(options: MeshOptions, clock: Clock, display: Display, stopped: AbortSignal): Promise<Mesh> {
    const { folder, overlays, host } = options
    const { documents, problems } = await readDocuments([folder, ...overlays])
    if (problems.length > 0) throw new Error(`the documents are not in order:\n${problems.join('\n')}`)
    const plan = planMesh(documents)
    if (plan.problems.length > 0) throw new Error(`the documents cannot be run:\n${plan.problems.join('\n')}`)
    if (plan.workloads.length === 0)
      throw new Error(`${folder} holds no Pod, so there is nothing to run: see examples/shop`)

    using resources = new DisposableStack()
    const stateDir = options.stateDir ?? defaultStateFolder()
    const own = resources.use(StateFolder.open(join(stateDir, 'up')))
    prepare(own.path, plan.workloads)
    const mesh: MeshSurroundings = {
      folder,
      overlays,
      host,
      stateDir,
      ownStateDir: own.path,
      env: process.env,
      makeToken: async ({ namespace, serviceAccount }) => {
        const tokens = await Tokens.read(stateDir, clock)
        return tokens.make({ namespace, serviceAccount }, trustDomain)
      },
    }
    const inTheWay = await preflight(wantedPorts(mesh, plan.workloads))
    if (inTheWay.length > 0) throw new Error(inTheWay.join('\noutrigger: '))

    const starting = new Starting(stopped)
    const guard = resources.use(new OrphanGuard())
    const program = (spec: ProgramSpec): Program =>
      new Program(spec, clock, guard, (end) => starting.ended(end, display))
    const controlPlane = program(controlPlaneProgram(mesh))
    const apps = plan.workloads.flatMap((workload) => appPrograms(mesh, workload)).map(program)
    const sidecars = plan.workloads
      .filter(({ meshed }) => meshed)
      .map((workload) => program(sidecarProgram(mesh, workload)))
    const policy = new PolicyWatch(`${host}:${controlPlanePorts.admin}`, (line) => display.event(line))
    const started = new Mesh(plan, policy, controlPlane, [...sidecars, ...apps], resources.move())
    try {
      display.progress(
        `starting ${folder}: a control plane, ${sidecars.length} sidecars, ${apps.length} applications; logs in ${join(own.path, 'logs')}`,
      )
      await starting.race(Promise.all([controlPlane, ...apps].map((each) => each.start())))
      const url = `http://${host}:${controlPlanePorts.admin}`
      await starting.race(wait([{ name: 'control plane', check: answersOk(`${url}/healthz`) }], clock, display))
      await starting.race(Promise.all(sidecars.map((each) => each.start())))
      await starting.race(wait(plan.workloads.flatMap(readinessOf), clock, display))
      starting.over()
      await policy.look()
      return started
    } catch (error) {
      await started[Symbol.asyncDispose]()
      throw error
    }
  }

  /** The Pod that asks for its traffic to be sent. */
  get load(): WorkloadPlan['load'] {
    return this.#client?.load
  }

  /** Where a stream of load connects. Throws when the documents have no place for it. */
  target(stream: Stream): LoadTarget {
    const url = new URL(stream.url)
    const common = { url, ratePerSecond: stream.rate, headers: stream.headers }
    const client = this.#client
    if (client === undefined)
      throw new Error('no Pod has the annotation outrigger.dev/load, so there is no client to send traffic as')
    if (stream.via === 'mesh')
      return { ...common, via: { is: 'proxy', host: client.address, port: sidecarPorts.outbound } }
    const [name = '', namespace = client.namespace] = url.hostname.split('.')
    const endpoint = this.#plan.services.get(`${namespace}/${name}`)
    if (endpoint === undefined) throw new Error(`${stream.url}: no Service ${namespace}/${name} has an endpoint`)
    return { ...common, via: { is: 'direct', ...endpoint } }
  }

  /** Name of the Pod at `ip:port`. */
  podAt(endpoint: string): string | undefined {
    const host = endpoint.slice(0, endpoint.lastIndexOf(':'))
    return this.workloads.find(({ address }) => address === host)?.name
  }

  async switchApp({
    app,
    failPercent,
    failStatus,
  }: {
    app: string
    failPercent: number
    failStatus: number
  }): Promise<void> {
    const workload = this.workloads.find(({ name }) => name === app)
    if (workload === undefined) throw new Error(`there is no Pod ${app}`)
    await switchApp(workload, failPercent, failStatus)
  }

  /** Callers go before what they call upon, and the control plane last: nobody sees an error that only the end makes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#others.map((each) => each.stop(stopGraceMs)))
    await this.#controlPlane.stop(stopGraceMs)
    this.#resources.dispose()
  }

  get #client(): WorkloadPlan | undefined {
    return this.workloads.find(({ load, meshed }) => load !== undefined && meshed)
  }
}

const trustDomain = 'cluster.local'

/** Logs and the sidecars' states are of one run: a policy or a certificate of an earlier one would only confuse. */
function prepare(folder: string, workloads: readonly WorkloadPlan[]): void {
  for (const name of ['logs', 'workloads']) rmSync(join(folder, name), { recursive: true, force: true })
  mkdirSync(join(folder, 'logs'), { mode: 0o700 })
  mkdirSync(join(folder, 'workloads'), { mode: 0o700 })
  for (const { namespace } of workloads)
    mkdirSync(join(folder, 'workloads', namespace), { recursive: true, mode: 0o700 })
}

function readinessOf(workload: WorkloadPlan): Readiness[] {
  const { address, meshed, programs } = workload
  const key = workloadKey(workload)
  const sidecar = { name: `${key} sidecar`, check: answersOk(`http://${address}:${sidecarPorts.health}/healthz/ready`) }
  const apps = programs.flatMap(({ name, appPort }) =>
    appPort === undefined ? [] : [{ name: `${key} ${name}`, check: takesConnections(address, appPort) }],
  )
  return meshed ? [sidecar, ...apps] : apps
}

async function wait(all: readonly Readiness[], clock: Clock, display: Display): Promise<void> {
  const late = await waitForAll(all, readyMs, clock, (name, left) =>
    display.progress(`${name} is ready${left === 0 ? '' : ` (${left} to go)`}`),
  )
  if (late.length > 0) throw new Error(`not ready after ${readyMs / 1_000} s (more in the logs):\n${late.join('\n')}`)
}

/** Until the mesh serves, a process that ends unasked ends the start; later it is told and started again. */
class Starting {
  readonly #failed = Promise.withResolvers<never>()
  #isOver = false

  constructor(stopped: AbortSignal) {
    // Whoever waits at the time hears of it; that nobody does is no error.
    this.#failed.promise.catch(() => {})
    stopped.addEventListener('abort', () => this.#failed.reject(new Error('stopped before everything was up')), {
      once: true,
    })
  }

  race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failed.promise])
  }

  over(): void {
    this.#isOver = true
  }

  ended({ program, cause, lastLines, logFile, restartInMs }: UnexpectedEnd, display: Display): void {
    const last = lastLines.map((line) => `  ${line}`).join('\n')
    if (this.#isOver)
      display.event(
        `${program} ended (${cause}), starting it again in ${restartInMs / 1_000} s; its last lines in ${logFile}:\n${last}`,
      )
    else
      this.#failed.reject(
        new Error(`${program} ended (${cause}) before it was ready; its last lines in ${logFile}:\n${last}`),
      )
  }
}
