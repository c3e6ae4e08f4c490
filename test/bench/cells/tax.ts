/** What each feature costs when it alone is on. */
import type { Cell } from '../cell.ts'
import { onePercent } from './capacity.ts'
import { outbound, startInbound, startPlainInbound } from './ours.ts'

type Feature = readonly [name: string, about: string, folders: readonly string[], more?: Partial<Cell>]

/** Each has a folder of outrigger/tax/; without one of its own, tracing is off by the one of `off`. */
const features: readonly Feature[] = [
  ['route', 'route match by path prefix and header', ['off', 'tax/route']],
  ['retry', 'two retries and a budget', ['off', 'tax/retry']],
  ['breaker', 'breakers of service and endpoint, outlier detection', ['off', 'tax/breaker']],
  ['pool', 'limits on connections and requests', ['off', 'tax/pool']],
  ['fault', 'a fault for 0 % of the requests', ['off', 'tax/fault']],
  ['trace-1', '1 % of the requests traced', ['tax/trace-1'], { traced: onePercent }],
  [
    'trace-100',
    'every request traced',
    ['tax/trace-100'],
    {
      // The exporter's queue is bounded (2,048 spans for 5 s): at this rate it drops most, and says how many.
      traced: { share: 0.001, spans: 1 },
    },
  ],
  ['access-log', 'access log as text, to nowhere', ['tax/access-log']],
]

const inbound = ['base', 'mesh', 'off'] as const

export const taxCells: readonly Cell[] = [
  outbound({ name: 'tax-off', group: 'tax', about: 'ours outbound, features off' }, ['base', 'plain', 'off']),
  ...features.map(([name, about, folders, more]) =>
    outbound(
      { name: `tax-${name}`, group: 'tax', about, peers: { off: 'tax-off' }, ...more },
      ['base', 'plain', ...folders],
      name === 'access-log',
    ),
  ),
  {
    name: 'tax-inbound',
    group: 'tax',
    about: 'ours inbound, plaintext, features off',
    start: (bench) => startPlainInbound(bench, inbound),
  },
  {
    name: 'tax-authorization',
    group: 'tax',
    about: 'inbound: a rule of methods and paths, and one that denies',
    peers: { off: 'tax-inbound' },
    start: (bench) => startPlainInbound(bench, [...inbound, 'tax/authorization']),
  },
  {
    name: 'tax-mtls',
    group: 'tax',
    about: 'inbound: mutual TLS 1.3',
    peers: { off: 'tax-inbound' },
    start: (bench) => startInbound(bench, [...inbound, 'strict']),
  },
]
