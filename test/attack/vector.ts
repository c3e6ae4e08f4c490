/** What a line of the attack list says, and the pieces that its bytes are made of. */

export interface Vector {
  /** Row of the rules table in src/http1/README.md. */
  readonly row: number
  readonly name: string
  /** Bytes as latin1 text. */
  readonly bytes: string
  /** Status of the refusal; `served`: it is legal and reaches the upstream. */
  readonly verdict: number | 'served'
  /** Section it rests on. */
  readonly rule: string
  /** The fault lies in the body or behind the first request: a part of it may be upstream before it is seen. */
  readonly late?: boolean
  /** For `served`: what the upstream may not see, and what it must. */
  readonly never?: RegExp
  readonly must?: RegExp
  /** Requests that the upstream sees: one if served, none if refused, unless it is said here. */
  readonly requests?: number
  /** Status with which the engine itself answers what follows the first request. */
  readonly next?: number
  /** Status with which a sidecar answers what the engine alone serves: its own rules about paths and destinations. */
  readonly sidecar?: number
}

type More = Partial<Omit<Vector, 'row' | 'name' | 'rule' | 'bytes' | 'verdict'>>

/** Makers for one row. */
export function rowOf(row: number): {
  readonly refused: (name: string, rule: string, bytes: string, verdict?: number, more?: More) => Vector
  readonly served: (name: string, rule: string, bytes: string, more?: More) => Vector
} {
  return {
    refused: (name, rule, bytes, verdict = 400, more = {}) => ({ row, name, rule, bytes, verdict, ...more }),
    served: (name, rule, bytes, more = {}) => ({ row, name, rule, bytes, verdict: 'served', ...more }),
  }
}

export const host = 'Host: app.test\r\n'

/** A request that must never be one: if it shows upstream by itself, something was smuggled. */
export const smuggled = `GET /smuggled HTTP/1.1\r\n${host}\r\n`

export const get = (fields: string, target = '/'): string => `GET ${target} HTTP/1.1\r\n${fields}\r\n`
export const post = (fields: string, body: string): string => `POST /p HTTP/1.1\r\n${host}${fields}\r\n${body}`
export const chunks = (body: string): string => post('Transfer-Encoding: chunked\r\n', body)
