/** Asks the application in the kubelet's place: the same rules (pkg/probe of Kubernetes), the same address. */
import type { IncomingMessage } from 'node:http'
import type { AppProbe, HttpProbe, TcpProbe } from '../api/app-probe.ts'
import type { Clock } from '../base/clock.ts'
import { type Dial, type ProbeCall, ProbeFailure, type ProbeResult } from './probe-call.ts'

/** The kubelet reads no more of a body; neither is more kept here. */
const bodyBytesMax = 10_240
const redirectsMax = 10

/** Never rejects. */
export async function probeApp(probe: AppProbe, call: ProbeCall, dial: Dial, clock: Clock): Promise<ProbeResult> {
  const late = new AbortController()
  const { signal } = late
  const timer = clock.after(probe.timeoutMs, () => late.abort())
  try {
    switch (probe.kind) {
      case 'http':
        return await probeHttp(probe, call, dial, signal)
      case 'tcp':
        return await probeTcp(probe, call.address, dial, signal)
      case 'grpc': {
        const { probeGrpc } = await import('./grpc-probe.ts')
        return await probeGrpc(probe, call, dial, signal)
      }
    }
  } catch (error) {
    if (signal.aborted) return { status: 504, reason: `no answer within ${probe.timeoutMs} ms` }
    if (error instanceof ProbeFailure) return { status: error.status, reason: error.message }
    return { status: 503, reason: connectReason(error, call.address, probe.port) }
  } finally {
    timer.cancel()
  }
}

async function probeHttp(probe: HttpProbe, call: ProbeCall, dial: Dial, signal: AbortSignal): Promise<ProbeResult> {
  const host = call.address.includes(':') ? `[${call.address}]` : call.address
  let url = new URL(`${probe.tls ? 'https' : 'http'}://${host}:${probe.port}`)
  // As it stands: a URL would write it anew.
  let target = probe.path
  let headers = headersOf(probe, call)
  for (let redirects = 0; ; redirects++) {
    const response = await ask(url, target, headers, dial, signal)
    const status = response.statusCode ?? 0
    const { location } = response.headers
    await read(response)
    if (!isRedirect(status) || location === undefined) return outcome(status)
    const next = URL.parse(location, url.href)
    if (next === null) throw new ProbeFailure(502, `the application redirects to '${location.slice(0, 200)}'`)
    // To another host: the application lives, and where it points is not asked (kubelet: success, with a warning).
    if (next.hostname !== url.hostname || !/^https?:$/.test(next.protocol)) return outcome(status)
    if (redirects + 1 >= redirectsMax) throw new ProbeFailure(502, `stopped after ${redirectsMax} redirects`)
    // A Host that was asked for holds for relative redirects only (Go's http.Client).
    if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(location)) headers = { ...headers, host: [next.host] }
    url = next
    target = `${next.pathname}${next.search}`
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}

/** 200 to 399 is success, nothing else. */
function outcome(status: number): ProbeResult {
  return { status: status >= 200 && status < 400 ? 200 : status, reason: `the application answered ${status}` }
}

type OutgoingHeaders = Readonly<Record<string, readonly string[]>>

/** Those of the Pod's document; where it says nothing, what the kubelet itself has sent. */
function headersOf(probe: HttpProbe, call: ProbeCall): OutgoingHeaders {
  const headers: Record<string, string[]> = {}
  for (const [name, value] of probe.headers) (headers[name.toLowerCase()] ??= []).push(value)
  for (const name of ['user-agent', 'accept'] as const) {
    const own = headers[name]
    const theirs = call.headers[name]
    if (own === undefined && theirs !== undefined) headers[name] = [theirs]
    // An empty one in the document takes the header away.
    else if (own?.[0] === '') delete headers[name]
  }
  if (headers['host'] !== undefined) headers['host'] = [headers['host'][0]!]
  return headers
}

async function ask(
  url: URL,
  target: string,
  headers: OutgoingHeaders,
  dial: Dial,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const address = url.hostname.replace(/^\[|\]$/g, '')
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  const { request } = await import('node:http')
  let socket = dial(address, port)
  const raw = socket
  if (url.protocol === 'https:') {
    const { connect } = await import('node:tls')
    // A probe asks whether the application answers, not who it is.
    socket = connect({ socket: raw, rejectUnauthorized: false })
  }
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      raw.destroy()
      reject(error)
    }
    raw.on('error', failed)
    socket.on('error', failed)
    const outgoing = request({
      method: 'GET',
      path: target,
      host: url.hostname,
      port,
      setDefaultHeaders: false,
      headers: { host: url.host, ...headers, connection: 'close' } as Record<string, string | string[]>,
      createConnection: () => socket,
      signal,
    })
    outgoing.on('response', resolve).on('error', failed)
    // One that switches protocols has not answered the question.
    outgoing.on('upgrade', () => failed(new ProbeFailure(502, 'the application switched protocols')))
    outgoing.end()
  })
}

/** So much of the body as the kubelet would read, then the connection is closed. */
async function read(response: IncomingMessage): Promise<void> {
  let length = 0
  for await (const chunk of response) {
    length += (chunk as Buffer).length
    if (length >= bodyBytesMax) break
  }
  response.destroy()
}

function probeTcp(probe: TcpProbe, address: string, dial: Dial, signal: AbortSignal): Promise<ProbeResult> {
  const socket = dial(address, probe.port)
  return new Promise<ProbeResult>((resolve, reject) => {
    socket.on('error', reject)
    socket.once('connect', () => resolve({ status: 200, reason: `port ${probe.port} accepts connections` }))
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  }).finally(() => socket.destroy())
}

function connectReason(error: unknown, address: string, port: number): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ECONNREFUSED') return `nothing listens on ${address}:${port}`
  return `${address}:${port}: ${error instanceof Error ? error.message : String(error)}`
}
