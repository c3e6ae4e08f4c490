import { noBody } from '../../src/base/body.ts'
import { type Attempt, type Completion, type Downstream, Exchange, type Headers } from '../../src/base/exchange.ts'
import type { ByteSink } from '../../src/telemetry/line-writer.ts'
import type { Workload } from '../../src/telemetry/traffic.ts'

/** Who reports, in telemetry tests. */
export const testWorkload: Workload = {
  namespace: 'shop',
  name: 'web-1',
  serviceAccount: 'web',
  canonicalService: 'web',
  revision: 'v1',
}

export interface ExchangeFacts {
  readonly method?: string
  readonly target?: string
  readonly authority?: string
  readonly headers?: Headers
  readonly direction?: 'outbound' | 'inbound'
  readonly identity?: string
  readonly startedAt?: number
  readonly downstream?: Partial<Downstream>
}

/** An exchange as an engine makes it. */
export function exchangeOf(facts: ExchangeFacts = {}): Exchange {
  return new Exchange({
    request: {
      method: facts.method ?? 'GET',
      target: facts.target ?? '/cart?id=1',
      authority: facts.authority ?? 'orders:80',
      scheme: 'http',
      version: '1.1',
      headers: facts.headers ?? [],
      upgrade: undefined,
      expectContinue: false,
    },
    body: noBody,
    downstream: {
      direction: facts.direction ?? 'outbound',
      remoteAddress: '127.0.0.1',
      remotePort: 40_000,
      proxy: undefined,
      localAddress: '127.1.0.1',
      localPort: 15_001,
      identity: facts.identity,
      tls: facts.identity !== undefined,
      captured: false,
      ...facts.downstream,
    },
    startedAt: facts.startedAt ?? 1_000,
  })
}

/** A try that was answered 200 by orders, unless told otherwise. */
export function attemptOf(facts: Partial<Attempt> = {}): Attempt {
  return {
    number: 1,
    backend: 'shop/orders',
    endpoint: '127.1.0.3:8080',
    workload: 'orders-1',
    identity: 'spiffe://cluster.local/ns/shop/sa/orders',
    revision: 'v2',
    startedAt: 1_001,
    endedAt: 1_004,
    status: 200,
    grpcStatus: -1,
    error: undefined,
    cause: '',
    hedge: false,
    backoffMs: 0,
    faultDelayMs: 0,
    spanId: '',
    ...facts,
  }
}

/** How it ended: 200 with 10 bytes, unless told otherwise. */
export function completionOf(facts: Partial<Completion> = {}): Completion {
  return { bytesIn: 0, bytesOut: 10, status: 200, error: undefined, ...facts }
}

/** Keeps what is written. */
export class MemorySink implements ByteSink {
  text = ''

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1)
  }

  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, written: number) => void): void {
    this.text += bytes.toString('latin1')
    done(null, bytes.length)
  }
}
