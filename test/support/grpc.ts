/** Both ends of gRPC as other people wrote them (grpc-js), with messages that are plain bytes. */
import type { EventEmitter } from 'node:events'
import {
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'

/** Metadata with which a call of `test.Echo` says how it wants to be answered. */
export const asks = {
  /** A status other than OK: its number. */
  code: 'x-code',
  message: 'x-message-bin',
  /** Messages that ServerStream sends. */
  count: 'x-count',
  /** Nothing is ever answered. */
  hang: 'x-hang',
} as const

const bytes = (value: Buffer): Buffer => value
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
})

type AnyCall =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerReadableStream<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>
  | ServerDuplexStream<Buffer, Buffer>

/** A server of `test.Echo` on a port of 127.0.0.1. */
export class GrpcApp implements AsyncDisposable {
  readonly #server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.enable_channelz': 0 })
  port = 0
  /** Calls that have begun, and those whose client has gone before their end. */
  calls = 0
  cancelled = 0
  readonly #answered = new WeakSet<AnyCall>()
  /** Of the last call. */
  metadata = new Metadata()
  deadline: Date | number = Number.POSITIVE_INFINITY

  static async start(at = '127.0.0.1:0'): Promise<GrpcApp> {
    const app = new GrpcApp()
    app.#server.addService(
      {
        Unary: method('Unary', false, false),
        ClientStream: method('ClientStream', true, false),
        ServerStream: method('ServerStream', false, true),
        Bidi: method('Bidi', true, true),
      },
      { Unary: app.#unary, ClientStream: app.#clientStream, ServerStream: app.#serverStream, Bidi: app.#bidi },
    )
    app.port = await new Promise<number>((resolve, reject) => {
      app.#server.bindAsync(at, ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      )
    })
    return app
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown()
    return Promise.resolve()
  }

  /** Undefined: the call is never answered. */
  #begin(call: AnyCall): { readonly trailers: Metadata; readonly error: ServiceError | undefined } | undefined {
    this.calls++
    this.metadata = call.metadata
    this.deadline = call.getDeadline()
    // It comes for every call.
    const events: EventEmitter = call
    events.on('cancelled', () => {
      if (!this.#answered.has(call)) this.cancelled++
    })
    const asked = (name: string): string | undefined => call.metadata.get(name)[0]?.toString()
    if (asked(asks.hang) !== undefined) return undefined
    const trailers = new Metadata()
    trailers.set('x-trailer', 'behind')
    trailers.set('x-trailer-bin', Buffer.from([0, 1, 254, 255]))
    const code = Number(asked(asks.code) ?? status.OK)
    const details = asked(asks.message) ?? ''
    const error =
      code === status.OK ? undefined : Object.assign(new Error(details), { code, details, metadata: trailers })
    // A failure of a unary call without metadata before it is the answer of which all is trailers.
    if (error === undefined) {
      const initial = new Metadata()
      for (const value of call.metadata.get('x-echo')) initial.add('x-echo', value)
      for (const value of call.metadata.get('x-echo-bin')) initial.add('x-echo-bin', value)
      call.sendMetadata(initial)
    }
    return { trailers, error }
  }

  readonly #unary = (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void => {
    const begun = this.#begin(call)
    if (begun === undefined) return
    this.#answered.add(call)
    if (begun.error !== undefined) answer(begun.error)
    else answer(null, call.request, begun.trailers)
  }

  readonly #clientStream = (call: ServerReadableStream<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void => {
    const begun = this.#begin(call)
    if (begun === undefined) return
    let total = 0
    call.on('data', (message: Buffer) => (total += message.length))
    call.on('end', () => {
      this.#answered.add(call)
      answer(begun.error ?? null, Buffer.from(String(total)), begun.trailers)
    })
  }

  readonly #serverStream = (call: ServerWritableStream<Buffer, Buffer>): void => {
    const begun = this.#begin(call)
    const count = Number(call.metadata.get(asks.count)[0] ?? 0)
    let sent = 0
    const pour = (): void => {
      while (sent < count && !call.cancelled) if (!call.write(Buffer.from(`${sent++}`)) && sent < count) return
      if (begun === undefined || sent < count) return
      call.off('drain', pour)
      this.#answered.add(call)
      if (begun.error !== undefined) call.emit('error', begun.error)
      else call.end(begun.trailers)
    }
    call.on('drain', pour)
    pour()
  }

  readonly #bidi = (call: ServerDuplexStream<Buffer, Buffer>): void => {
    const begun = this.#begin(call)
    call.on('data', (message: Buffer) => call.write(message))
    call.on('end', () => {
      if (begun !== undefined) this.#answered.add(call)
      if (begun?.error !== undefined) call.emit('error', begun.error)
      else if (begun !== undefined) call.end(begun.trailers)
    })
  }
}

/** How a call went. */
export interface GrpcOutcome {
  readonly code: number
  readonly details: string
  readonly initial: Metadata
  readonly trailers: Metadata
  readonly messages: readonly Buffer[]
}

export interface GrpcAsk {
  readonly metadata?: Readonly<Record<string, string | Buffer>>
  readonly deadlineMs?: number
}

/** A client of `test.Echo` that reaches `authority` at an address. */
export class GrpcClient implements Disposable {
  readonly client: Client

  constructor(at: { readonly host: string; readonly port: number }, authority: string, options: ClientOptions = {}) {
    this.client = new Client(`${at.host}:${at.port}`, credentials.createInsecure(), {
      'grpc.default_authority': authority,
      'grpc.enable_http_proxy': 0,
      'grpc.enable_retries': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      ...options,
    })
  }

  unary(message: Buffer, ask: GrpcAsk = {}, name = 'Unary'): Promise<GrpcOutcome> {
    return new Promise((resolve) => {
      const messages: Buffer[] = []
      const path = name.includes('/') ? name : `/test.Echo/${name}`
      const call = this.client.makeUnaryRequest(path, bytes, bytes, message, ...options(ask), (_error, got) => {
        if (got !== undefined) messages.push(got)
      })
      settle(call, messages, resolve)
    })
  }

  clientStream(messages: Iterable<Buffer>, ask: GrpcAsk = {}): Promise<GrpcOutcome> {
    return new Promise((resolve) => {
      const got: Buffer[] = []
      const call: ClientWritableStream<Buffer> = this.client.makeClientStreamRequest(
        '/test.Echo/ClientStream',
        bytes,
        bytes,
        ...options(ask),
        (_error, answer?: Buffer) => {
          if (answer !== undefined) got.push(answer)
        },
      )
      for (const message of messages) call.write(message)
      call.end()
      settle(call, got, resolve)
    })
  }

  /** Resolves at the end; `seen` for each message on the way. */
  serverStream(
    count: number,
    ask: GrpcAsk = {},
    seen: (call: ClientReadableStream<Buffer>, count: number) => void = () => {},
  ): Promise<GrpcOutcome> {
    return new Promise((resolve) => {
      const got: Buffer[] = []
      const [metadata, rest] = options({ ...ask, metadata: { ...ask.metadata, [asks.count]: String(count) } })
      const path = '/test.Echo/ServerStream'
      const call = this.client.makeServerStreamRequest(path, bytes, bytes, Buffer.alloc(0), metadata, rest)
      call.on('data', (message: Buffer) => {
        got.push(message)
        seen(call, got.length)
      })
      settle(call, got, resolve)
    })
  }

  bidi(ask: GrpcAsk = {}): ClientDuplexStream<Buffer, Buffer> {
    return this.client.makeBidiStreamRequest('/test.Echo/Bidi', bytes, bytes, ...options(ask))
  }

  [Symbol.dispose](): void {
    this.client.close()
  }
}

/** Resolves when the call has its status, whatever it is. */
export function settle(call: EventEmitter, messages: readonly Buffer[], resolve: (outcome: GrpcOutcome) => void): void {
  let initial = new Metadata()
  call.on('metadata', (metadata: Metadata) => (initial = metadata))
  call.on('error', () => {})
  call.on('status', ({ code, details, metadata }: { code: number; details: string; metadata: Metadata }) =>
    // What belongs to the same turn is handed over first.
    setImmediate(() => resolve({ code, details, initial, trailers: metadata, messages })),
  )
}

function options({ metadata: said = {}, deadlineMs }: GrpcAsk): [Metadata, { deadline?: number }] {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(said)) metadata.add(name, value)
  return [metadata, deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }]
}
