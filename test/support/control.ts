import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js'
import { Authority } from '../../control-plane/identity/authority.ts'
import { ServerCertificate } from '../../control-plane/identity/server-certificate.ts'
import { Tokens } from '../../control-plane/identity/token.ts'
import type { EncodedResource, Resources } from '../../control-plane/stream/resources.ts'
import { StreamServer } from '../../control-plane/stream/server.ts'
import {
  type ClientMessage,
  EndpointSetSchema,
  type Resource,
  ResourceSchema,
  type ServerMessage,
  ServiceSchema,
} from '../../src/api/gen/outrigger_pb.ts'
import { clientMessage, watchMethod } from '../../src/api/services.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import { StateFolder } from '../../src/base/state-folder.ts'
import { openChannel } from '../../src/control/channel.ts'
import { PolicyStore } from '../../src/control/policy-store.ts'
import { WatchStream } from '../../src/control/watch-stream.ts'
import { WorkloadCertificate } from '../../src/identity/certificate.ts'
import type { Credentials } from '../../src/identity/credentials.ts'

/** A new folder that goes away with the test. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'outrigger-test-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Resources that a test sets by hand. */
export class TestResources implements Resources {
  revision = 0n
  synced = true
  readonly #entries = new Map<string, EncodedResource>()
  readonly #listeners = new Set<(changed: ReadonlySet<string>) => void>()

  get(name: string): EncodedResource | undefined {
    return this.#entries.get(name)
  }

  subscribe(listener: (changed: ReadonlySet<string>) => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /** Bytes as they are, or a service whose address is its version. */
  set(name: string, version: string, bytes: Uint8Array = serviceBytes(name, version)): void {
    this.#entries.set(name, { name, version, bytes })
    this.#announce(name)
  }

  delete(name: string): void {
    this.#entries.delete(name)
    this.#announce(name)
  }

  /** The sources have been read. */
  sync(): void {
    this.synced = true
    this.#announce(...this.#entries.keys())
  }

  #announce(...names: string[]): void {
    this.revision += 1n
    for (const listener of this.#listeners) listener(new Set(names))
  }
}

/** An encoded resource of that name and version. */
export function serviceBytes(name: string, version: string): Uint8Array {
  const [kind = '', namespace = '', last = ''] = name.split('/')
  const body: Resource['body'] =
    kind === 'endpoints'
      ? { case: 'endpoints', value: create(EndpointSetSchema, { namespace, name: last }) }
      : { case: 'service', value: create(ServiceSchema, { namespace, name: last, vips: [version] }) }
  return toBinary(ResourceSchema, create(ResourceSchema, { name, version, body }))
}

export interface TestControl extends AsyncDisposable {
  readonly server: StreamServer
  readonly resources: TestResources
  readonly authority: Authority
  readonly tokens: Tokens
  readonly address: string
  stop(): Promise<void>
}

export interface TestControlOptions {
  readonly stateDir: string
  readonly resources?: TestResources
  readonly port?: number
  readonly clock?: Clock
  readonly log?: Log
  readonly trustDomain?: string
  readonly certificateLifetimeMs?: number
}

/** A real stream server on a real socket, with resources by hand. */
export async function startControl(options: TestControlOptions): Promise<TestControl> {
  const {
    clock = systemClock,
    log = silentLog,
    trustDomain = 'cluster.local',
    resources = new TestResources(),
  } = options
  const state = StateFolder.open(options.stateDir)
  const authority = await Authority.open({
    clock,
    state,
    trustDomain,
    certificateLifetimeMs: options.certificateLifetimeMs ?? 3_600_000,
  })
  const tokens = await Tokens.open(state, clock)
  const certificate = await ServerCertificate.start(authority, clock, log)
  const server = await StreamServer.start({
    clock,
    log,
    host: '127.0.0.1',
    port: options.port ?? 0,
    authority,
    tokens,
    certificate,
    resources,
  })
  const stop = async (): Promise<void> => {
    certificate.stop()
    await server.stop()
    state.close()
  }
  return {
    server,
    resources,
    authority,
    tokens,
    address: `127.0.0.1:${server.port}`,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

export interface TestSidecarOptions {
  readonly control: Pick<TestControl, 'address' | 'authority' | 'tokens'>
  readonly namespace?: string
  readonly serviceAccount?: string
  readonly workload?: string
  /** What Hello says; default the certificate's. */
  readonly helloNamespace?: string
  readonly token?: () => Promise<string | undefined>
  readonly rootPem?: string
  readonly stateDir?: string
  readonly clock?: Clock
  readonly log?: Log
  readonly check?: (resource: Resource) => void
  readonly whenInForce?: () => Promise<void> | undefined
}

export interface TestSidecar extends AsyncDisposable {
  readonly certificate: WorkloadCertificate
  readonly store: PolicyStore
  readonly stream: WatchStream
  stop(): Promise<void>
}

/** The identity and policy half of a sidecar. */
export async function startSidecar(options: TestSidecarOptions): Promise<TestSidecar> {
  const {
    control,
    clock = systemClock,
    log = silentLog,
    namespace = 'shop',
    serviceAccount = 'web',
    workload = 'web-0',
  } = options
  const state = options.stateDir === undefined ? undefined : StateFolder.open(options.stateDir)
  const certificate = new WorkloadCertificate({
    clock,
    log,
    controlPlane: control.address,
    rootPem: options.rootPem ?? control.authority.trustBundlePem,
    token: options.token ?? (() => control.tokens.make({ namespace, serviceAccount }, control.authority.trustDomain)),
    namespace,
    serviceAccount: undefined,
    state,
  })
  const store = new PolicyStore({ clock, log, check: options.check, state })
  await certificate.start()
  const stream = new WatchStream({
    clock,
    log,
    controlPlane: control.address,
    namespace: options.helloNamespace ?? namespace,
    workload,
    program: 'test 1',
    credentials: certificate.credentials,
    store,
    ...(options.whenInForce === undefined ? {} : { whenInForce: options.whenInForce }),
  })
  const stop = async (): Promise<void> => {
    stream.close()
    certificate.close()
    await store.close()
    state?.close()
  }
  return { certificate, store, stream, stop, [Symbol.asyncDispose]: stop }
}

export interface RawWatch extends AsyncDisposable {
  readonly call: ClientDuplexStream<ClientMessage, ServerMessage>
  send(message: ClientMessage['message']): void
  /** How the stream ended: the gRPC error, or undefined for a good end. */
  readonly ended: Promise<ServiceError | undefined>
}

/** A policy stream driven by hand. */
export function rawWatch(
  address: string,
  credentials: Credentials | undefined,
  trustBundlePem = credentials?.trustBundlePem,
): RawWatch {
  const channel = openChannel({
    address,
    trustBundlePem: trustBundlePem ?? '',
    trustDomain: undefined,
    own: credentials,
  })
  const { path, requestSerialize, responseDeserialize } = watchMethod
  const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize)
  const ended = new Promise<ServiceError | undefined>((resolve) => {
    call.on('error', (error) => resolve(error as ServiceError))
    call.on('end', () => resolve(undefined))
  })
  return {
    call,
    ended,
    send: (message) => void call.write(clientMessage(message)),
    [Symbol.asyncDispose]: async () => {
      call.cancel()
      channel.close()
    },
  }
}

/** Resolves with the first value of a watched resource that satisfies `wanted`. */
export function seen(
  store: PolicyStore,
  name: string,
  wanted: (resource: Resource | undefined) => boolean,
): Promise<Resource | undefined> {
  return new Promise((resolve) => {
    const watching = store.watch(name, (resource) => {
      if (!wanted(resource)) return
      queueMicrotask(() => watching[Symbol.dispose]())
      resolve(resource)
    })
  })
}

/** Resolves once `condition` holds; looks again every few milliseconds, for at most `timeoutMs`. */
export async function eventually(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`still not so after ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** A log that keeps its lines. */
export class LinesLog implements Log {
  readonly lines: string[] = []
  debug(): void {}
  info(message: string): void {
    this.lines.push(`info ${message}`)
  }
  warn(message: string): void {
    this.lines.push(`warn ${message}`)
  }
  error(message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.lines.push(`error ${message} ${fields?.['error'] === undefined ? '' : String(fields['error'])}`)
  }
  named(): Log {
    return this
  }
}
