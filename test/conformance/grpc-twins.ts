/** Twins of the tests that are about GRPCRoute. */
import { aboutShare, type Expectation, expecting } from './expectation.ts'
import { at, backend, modifier, parent, setHeader, type Twin, type TwinCall, type TwinRoute, tells } from './twin.ts'

/** A GRPCRoute, and a call of the application's method. */
const grpcOfEcho = (...rules: object[]): TwinRoute => ({
  kind: 'GRPCRoute',
  spec: { parentRefs: [parent('echo', 7070)], rules },
})
const grpcTo = (version: 'v1' | 'v2', matches: readonly object[], more: object = {}) => ({
  ...(matches.length === 0 ? {} : { matches }),
  backendRefs: [{ name: `echo-${version}`, port: 7070 }],
  ...more,
})
const grpcCall = (wanted: Expectation, more: Partial<TwinCall> = {}): TwinCall => ({
  url: 'grpc://echo:7070',
  wrong: expecting(wanted),
  ...more,
})
/** Calls that fail are made one at a time: see callFrom. */
const grpcRefused = (status: number, more: Partial<TwinCall> = {}): TwinCall =>
  grpcCall({ status }, { ...tells, ...more, count: 1 })
const echoService = 'proto.EchoTestService'

export const grpcTwins: readonly Twin[] = [
  {
    of: 'MeshGRPCRouteWeight',
    routes: [
      grpcOfEcho({
        backendRefs: [
          { name: 'echo-v1', port: 7070, weight: 70 },
          { name: 'echo-v2', port: 7070, weight: 30 },
        ],
      }),
    ],
    calls: [
      grpcCall({}, { ...tells, count: 1_000, keepAlive: true, wrongInAll: aboutShare('v1', 0.7) }),
      grpcCall({}, { ...tells, count: 1_000, wrongInAll: aboutShare('v1', 0.7) }),
    ],
  },
  {
    // The application has one method: what the matches ask for differs instead of what is called.
    of: 'GRPCExactMethodMatching',
    routes: [
      grpcOfEcho(
        grpcTo('v1', []),
        grpcTo('v1', [{ method: { method: 'Echo' } }, { method: { service: echoService } }]),
        grpcTo('v1', [{ method: { service: echoService, method: 'ForwardEcho' } }]),
        grpcTo('v2', [{ method: { service: echoService, method: 'Echo' } }]),
      ),
    ],
    calls: [grpcCall({ version: 'v2' }, tells), grpcCall({ version: 'v2' }, { keepAlive: true })],
  },
  {
    of: 'GRPCRouteHeaderMatching',
    routes: [
      grpcOfEcho(
        grpcTo('v1', [{ headers: [{ name: 'version', value: 'one' }] }]),
        grpcTo('v2', [{ headers: [{ name: 'Version', value: 'two' }] }], { filters: [modifier, setHeader('two')] }),
        grpcTo('v1', [
          {
            headers: [
              { name: 'version', value: 'two' },
              { name: 'color', type: 'RegularExpression', value: 'b.*' },
            ],
          },
        ]),
        { matches: [{ headers: [{ name: 'version', value: 'none' }] }] },
      ),
    ],
    calls: [
      grpcCall({ version: 'v1' }, { ...tells, headers: { version: 'one' } }),
      grpcCall({ version: 'v1' }, { ...tells, headers: { version: 'two', color: 'blue' } }),
      grpcCall(
        {
          version: 'v2',
          headers: { 'x-header-set': 'two' },
          request: { 'x-header-set': 'set', 'x-header-new': 'new' },
        },
        { ...tells, headers: { version: 'two', color: 'red', 'x-header-set': 'mine' } },
      ),
      // A rule without a backend, and no rule at all.
      grpcRefused(14, { headers: { version: 'none' } }),
      grpcRefused(12, { headers: { version: 'three' } }),
      grpcRefused(12),
    ],
  },
  {
    of: 'GRPCRouteNamedRule',
    routes: [
      grpcOfEcho(
        { name: 'named', ...grpcTo('v2', [{ method: { service: echoService } }]) },
        grpcTo('v1', [{ method: { type: 'RegularExpression', service: 'proto[.].*', method: 'E.*' } }]),
      ),
      // For the same port: it is ignored. For the others it holds.
      {
        spec: { parentRefs: [parent('echo')], rules: [{ filters: [setHeader('http')], backendRefs: [backend('v1')] }] },
      },
    ],
    calls: [grpcCall({ version: 'v2' }, tells), at('/', { version: 'v1', headers: { 'x-header-set': 'http' } }, tells)],
  },
]
