import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { decodeSpans } from './otlp.ts'
import type { TraceStore } from './trace-store.ts'

/** The part of the control plane's admin server that is needed here. A path that ends in `/` takes what follows too. */
export interface TraceRoutes {
  route(
    method: 'GET' | 'POST',
    path: string,
    handler: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>,
    /** Also for callers from other machines. */
    isPublic?: boolean,
  ): void
}

const bodyBytesMax = 4_194_304
const inflatedBytesMax = 16_777_216
const listMax = 100
const unzip = promisify(gunzip)

/** `POST /v1/traces` (OTLP over HTTP, protobuf) and the reading side of the store, for `outrigger trace`. */
export function mountTraces(admin: TraceRoutes, store: TraceStore): void {
  admin.route(
    'POST',
    '/v1/traces',
    async (request, response) => {
      const problem = await receive(request, store)
      // An empty ExportTraceServiceResponse: all of it was taken.
      if (problem === undefined) answer(response, 200, 'application/x-protobuf', '')
      else answer(response, problem.status, 'text/plain; charset=utf-8', `${problem.message}\n`)
    },
    true,
  )
  admin.route('GET', '/traces', (request, response) => {
    const limit = Number(queryOf(request).get('limit') ?? 20)
    if (!Number.isInteger(limit) || limit < 1) return refuse(response, 400, '/traces: limit is a whole number above 0')
    json(response, store.list(Math.min(limit, listMax)))
  })
  admin.route('GET', '/traces/last', (request, response) => {
    const min = Number(queryOf(request).get('min') ?? 1)
    if (!Number.isInteger(min) || min < 1)
      return refuse(response, 400, '/traces/last: min is a whole number of spans above 0')
    const view = store.last(min)
    if (view === undefined)
      return refuse(response, 404, 'no trace yet: none was sampled, or its spans are still on the way')
    json(response, view)
  })
  admin.route('GET', '/traces/', (request, response) => {
    const id = pathOf(request).slice('/traces/'.length).toLowerCase()
    if (!/^[0-9a-f]{32}$/.test(id)) return refuse(response, 400, 'a trace id has 32 hexadecimal digits')
    const view = store.get(id)
    if (view === undefined)
      return refuse(response, 404, `no trace ${id}: it was not sampled, or it was displaced by newer ones`)
    json(response, view)
  })
}

interface Problem {
  readonly status: number
  readonly message: string
}

async function receive(request: IncomingMessage, store: TraceStore): Promise<Problem | undefined> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase()
  if (type !== 'application/x-protobuf') {
    return {
      status: 415,
      message: `/v1/traces takes application/x-protobuf, got '${type}': set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`,
    }
  }
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity' && encoding !== 'gzip')
    return { status: 415, message: `/v1/traces takes gzip or no encoding, got '${encoding}'` }
  const body = await readBody(request)
  if (body === undefined) return { status: 413, message: `/v1/traces takes up to ${bodyBytesMax} bytes` }
  try {
    const bytes = encoding === 'gzip' ? await unzip(body, { maxOutputLength: inflatedBytesMax }) : body
    store.add(decodeSpans(bytes))
    return undefined
  } catch (error) {
    return {
      status: 400,
      message: `/v1/traces: not an ExportTraceServiceRequest: ${error instanceof Error ? error.message : String(error)}`,
    }
  }
}

/** undefined when it is too long; the rest is then not kept. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= bodyBytesMax) chunks.push(chunk)
  }
  return bytes > bodyBytesMax ? undefined : Buffer.concat(chunks)
}

function queryOf(request: IncomingMessage): URLSearchParams {
  const url = request.url ?? ''
  const at = url.indexOf('?')
  return new URLSearchParams(at === -1 ? '' : url.slice(at + 1))
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?')[0]!
}

function json(response: ServerResponse, value: unknown): void {
  answer(response, 200, 'application/json', `${JSON.stringify(value)}\n`)
}

function refuse(response: ServerResponse, status: number, message: string): void {
  answer(response, status, 'text/plain; charset=utf-8', `${message}\n`)
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
  })
  response.end(body)
}
