/** One exchange that some peer has got wrong, with what must be seen on both sides. */
export interface WireCase {
  /** Row of the attack table (`table.ts`). */
  readonly row: number
  readonly what: string
  /** RFC and section it rests on, or whose rule it is where no RFC has one. */
  readonly rule: string
  /** Request, latin1; HOST is the authority of the application. */
  readonly send: string
  /** At the client: status of the first answer. A refusal (400 and above) that is not `passed` sends no byte upstream. */
  readonly status: number
  /** The client's bytes, as far as they must and must not go. */
  readonly client?: readonly RegExp[]
  readonly clientNever?: readonly RegExp[]
  /** The application's bytes likewise. */
  readonly app?: readonly RegExp[]
  readonly appNever?: readonly RegExp[]
  /** Requests that the application gets; default 1 for what is served, 0 for what is refused. */
  readonly requests?: number
  /** What the application answers, latin1; RESET: it resets the connection once the request is there. */
  readonly answer?: string
  /** The client reads until this; default: the end of the first head. */
  readonly until?: RegExp
  /** Default: every one. */
  readonly lanes?: readonly ('outbound' | 'inbound in plaintext' | 'inbound over mTLS')[]
}

/** A GET with these field lines. */
export const get = (fields: string, target = '/'): string => `GET ${target} HTTP/1.1\r\nHost: HOST\r\n${fields}\r\n`
export const post = (fields: string, body: string): string => `POST / HTTP/1.1\r\nHost: HOST\r\n${fields}\r\n${body}`
