/** What a twin of a test is, and what many of them have in common. */
import type { Answer, Call } from './echo.ts'
import { type Expectation, expecting } from './expectation.ts'
import type { gatewayTests, tests } from './suite.ts'

/** Where a call comes from: the Service's own namespace, or the one that has a consumer route. */
export type Caller = 'producer' | 'consumer'

export interface TwinCall extends Call {
  readonly from?: Caller
  /** What is wrong with an answer; undefined: it fits. `{NS}` and `{POD_V2}` in the URL are filled in. */
  readonly wrong: (answer: Answer) => string | undefined
  /** What is wrong with all of them together. */
  readonly wrongInAll?: (answers: readonly Answer[]) => string | undefined
  /** It must not hold without a mesh: so the twin is worth something. At least one call of each twin has it. */
  readonly tells?: true
}

export interface Twin {
  readonly of: keyof typeof tests | (typeof gatewayTests)[number]
  /** Specs of routes; of a consumer route with its namespace. */
  readonly routes: readonly TwinRoute[]
  readonly calls: readonly TwinCall[]
}

export interface TwinRoute {
  /** Default: HTTPRoute. */
  readonly kind?: 'GRPCRoute'
  readonly in?: Caller
  readonly spec: object
}

/** A Service as parentRef. */
export const parent = (name: string, port?: number) => ({
  group: '',
  kind: 'Service',
  name,
  ...(port === undefined ? {} : { port }),
})
/** One version of the application over HTTP. */
export const backend = (version: 'v1' | 'v2', more: object = {}) => ({ name: `echo-${version}`, port: 8080, ...more })
/** Filter: marks the answer. */
export const setHeader = (value: string) => ({
  type: 'ResponseHeaderModifier',
  responseHeaderModifier: { set: [{ name: 'X-Header-Set', value }] },
})

/** Filter: sets, adds and removes headers of the request. */
export const modifier = {
  type: 'RequestHeaderModifier',
  requestHeaderModifier: {
    set: [{ name: 'X-Header-Set', value: 'set' }],
    add: [
      { name: 'X-Header-Add', value: 'added' },
      { name: 'X-Header-New', value: 'new' },
    ],
    remove: ['X-Header-Remove'],
  },
}

/** A request to the Service of both versions. */
export const at = (target: string, wanted: Expectation, more: Partial<TwinCall> = {}): TwinCall => ({
  url: `http://echo${target}`,
  wrong: expecting(wanted),
  ...more,
})
/** See TwinCall. */
export const tells = { tells: true } as const
