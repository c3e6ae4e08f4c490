/** Our own tree: arrows between folders, what the sidecar loads, what the documents must say, what nobody uses. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { attackTable } from './attack/table.ts'
import { arrowProblems, cycles, missingImports, type Problems, sidecarProblems, unusedFiles } from './tidy/arrows.ts'
import { attackProblems } from './tidy/attack-table.ts'
import {
  controlPlaneMetricProblems,
  engineProblems,
  environmentProblems,
  errorProblems,
  flagProblems,
  linkProblems,
  metricProblems,
  policyProblems,
  whereProblems,
} from './tidy/documents.ts'
import { faultProblems } from './tidy/faults.ts'
import { readSource } from './tidy/source-text.ts'
import { clockProblems, layerProblems, longFiles, machineProblems, untestedExamples } from './tidy/text-rules.ts'
import { Tree } from './tidy/tree.ts'

const tree = Tree.read(fileURLToPath(new URL('..', import.meta.url)))

interface Check {
  readonly that: string
  readonly find: (tree: Tree) => Problems
  /** Trees with one fault each, and a word of the problem that must be found: the check itself is checked. */
  readonly faults: readonly (readonly [tree: Tree, word: RegExp])[]
}

const text = (file: string): string => tree.text(file)
/** A file with one more line at its end, which the rest of the tree does not need. */
const plus = (file: string, line: string): Tree => tree.with({ [file]: `${text(file)}${line}\n` })
/** A file without a part that it has. */
const minus = (file: string, part: string): Tree => {
  assert.ok(text(file).includes(part), `${file} has no longer: ${part}`)
  return tree.with({ [file]: text(file).replaceAll(part, '') })
}

const checks: readonly Check[] = [
  {
    that: 'imports follow the arrows',
    find: arrowProblems,
    faults: [
      [plus('control-plane/main.ts', `import '../src/policy/order.ts'`), /control-plane\/main\.ts imports src\/policy/],
      [
        plus('src/sidecar.ts', `import { a } from '../control-plane/main.ts'`),
        /src\/sidecar\.ts imports control-plane/,
      ],
      [plus('src/sidecar.ts', `await import('./cli/table.ts')`), /src\/sidecar\.ts imports src\/cli/],
      [plus('src/http1/server.ts', `export { x } from '../telemetry/ids.ts'`), /src\/http1\/server\.ts imports/],
      [plus('src/tcp/relay.ts', `import { x } from '../policy/retry.ts'`), /src\/tcp\/relay\.ts imports/],
      [plus('src/base/live.ts', `import { x } from '../route/path.ts'`), /src\/base\/live\.ts imports/],
    ],
  },
  {
    that: 'imports lead somewhere',
    find: missingImports,
    faults: [[plus('src/sidecar.ts', `import './no-such-file.ts'`), /no-such-file/]],
  },
  {
    that: 'no import cycle',
    find: cycles,
    faults: [
      [
        plus('src/base/stack.ts', `import './live.ts'`).with({ 'src/base/live.ts': `import './stack.ts'\n` }),
        /stack\.ts > src\/base\/live\.ts|live\.ts > src\/base\/stack\.ts/,
      ],
    ],
  },
  {
    that: 'the sidecar loads nothing that it does not need',
    find: sidecarProblems,
    faults: [
      [plus('src/policy/retry.ts', `import { z } from 'zod'`), /src\/policy\/retry\.ts loads zod/],
      [
        plus('src/policy/retry.ts', `import { kinds } from '../api/policy/kinds.ts'`),
        /loads src\/api\/policy\/kinds\.ts/,
      ],
      [
        plus('src/telemetry/record.ts', `import { x } from '@opentelemetry/sdk-trace'`),
        /loads @opentelemetry\/sdk-trace/,
      ],
    ],
  },
  {
    that: 'no file is unused',
    find: unusedFiles,
    faults: [
      [
        tree.with({ 'src/policy/forgotten.ts': 'export const x = 1\n' }),
        /src\/policy\/forgotten\.ts is used by nobody/,
      ],
      [
        tree.with({
          'src/policy/forgotten.ts': 'export const x = 1\n',
          'src/policy/forgotten.test.ts': `import './forgotten.ts'\n`,
        }),
        /forgotten\.ts is used by tests only/,
      ],
      [tree.with({ 'test/support/forgotten.ts': 'export const x = 1\n' }), /test\/support\/forgotten\.ts/],
      [tree.with({ 'examples/shop/apps/idle.ts': 'export const x = 1\n' }), /examples\/shop\/apps\/idle\.ts/],
    ],
  },
  {
    that: 'time and chance come from the Clock',
    find: clockProblems,
    faults: [
      [plus('src/policy/retry.ts', 'export const x = Date.now()'), /src\/policy\/retry\.ts:\d+ uses Date\.now/],
      [plus('control-plane/main.ts', 'setTimeout(() => {}, 1)'), /uses setTimeout/],
      [plus('src/cli/table.ts', `import { setTimeout as wait } from 'node:timers/promises'`), /uses from 'node:timers/],
      [plus('src/cli/table.ts', ['export const y = `$', '{Math.random()}`'].join('')), /uses Math\.random/],
    ],
  },
  {
    that: 'every fault of the table has its tests',
    find: faultProblems,
    faults: [
      [minus('test/integration/faults-upstream.test.ts', 'F17: all endpoints down'), /F17: .* has no test 'F17: all/],
      [tree.with({ 'test/netns/sidecars.test.ts': undefined }), /F28: there is no test\/netns\/sidecars\.test\.ts/],
    ],
  },
  {
    that: 'long files have a reason',
    find: longFiles,
    faults: [
      [tree.with({ 'src/policy/long.ts': '//\n'.repeat(401) }), /src\/policy\/long\.ts has 401 lines/],
      [tree.with({ 'src/http1/server-connection.ts': '//\n' }), /take it off the list/],
    ],
  },
  {
    that: 'no name of a registry or of a machine',
    find: machineProblems,
    faults: [
      [plus('README.md', ['see registry.', 'npmjs', '.org'].join('')), /README\.md:\d+ has/],
      [plus('src/sidecar.ts', ["// '/", "home/someone'"].join('')), /src\/sidecar\.ts:\d+ has/],
    ],
  },
  {
    that: 'every layer stands in a stack',
    find: layerProblems,
    faults: [
      [
        tree.with({
          'src/policy/cache.ts': 'export function cache(policy: Policy): Layer | undefined {\n  return undefined\n}\n',
        }),
        /the layer cache stands in no stack/,
      ],
    ],
  },
  {
    that: 'every example is run by a test',
    find: untestedExamples,
    faults: [
      [tree.with({ 'examples/scenarios/unheard/scenario.yaml': 'title: x\n' }), /examples\/scenarios\/unheard/],
      [tree.with({ 'examples/bank/web.yaml': 'kind: Pod\n' }), /examples\/bank/],
    ],
  },
  {
    that: 'src/README.md has every error code as it is',
    find: errorProblems,
    faults: [
      [minus('src/README.md', '| `LOOP` |'), /begins: \| `LOOP` \| internal \| never \| 508/],
      [plus('src/README.md', '| `NEW_CODE` | internal | never | 500 | 13 | - |'), /no such line.*`NEW_CODE`/],
    ],
  },
  {
    that: "src/README.md has the sidecar's flags as they are",
    find: flagProblems,
    faults: [[minus('src/README.md', '`--drain-timeout`'), /--drain-timeout/]],
  },
  {
    that: 'src/README.md has every environment variable',
    find: environmentProblems,
    faults: [
      [
        plus('control-plane/main.ts', `const x = process.env['OUTRIGGER_NEW']`),
        /control-plane\/main\.ts reads OUTRIGGER_NEW/,
      ],
      [plus('src/sidecar.ts', `const x = number('OTEL_NEW_THING', 1)`), /reads OTEL_NEW_THING/],
      [plus('src/cli/outrigger', ['echo $', '{OUTRIGGER_OTHER:-}'].join('')), /reads OUTRIGGER_OTHER/],
    ],
  },
  {
    that: 'src/telemetry/README.md has every metric',
    find: metricProblems,
    faults: [
      [
        minus('src/telemetry/README.md', '| `outrigger_circuit_state` |'),
        /no row for the metric outrigger_circuit_state/,
      ],
      [plus('src/telemetry/README.md', '| `outrigger_gone_total` | | |'), /no metric outrigger_gone_total/],
    ],
  },
  {
    that: 'control-plane/README.md has every metric of a control plane',
    find: controlPlaneMetricProblems,
    faults: [
      [
        minus('control-plane/README.md', '| `outrigger_control_plane_leader` |'),
        /begins: \| `outrigger_control_plane_leader` \|/,
      ],
      [
        plus('control-plane/README.md', '| `outrigger_control_plane_gone_total` | | |'),
        /no such line.*outrigger_control_plane_gone_total/,
      ],
    ],
  },
  {
    that: 'src/http1/README.md has every limit and every row of the attack list',
    find: engineProblems,
    faults: [
      [minus('src/http1/README.md', '`lingerMs`'), /begins \| `lingerMs` \| 1 s/],
      [minus('src/http1/README.md', '\n| 13 |'), /no line for row 13/],
    ],
  },
  {
    that: 'every row of the attack table is shown by tests that are there',
    find: attackProblems,
    faults: [
      [
        minus('test/integration/attack-tls.test.ts', 'no session is resumed'),
        /row 34: test\/integration\/attack-tls\.test\.ts has no test 'no session/,
      ],
      [
        tree.with({ 'src/upstream/outside.test.ts': undefined }),
        /row 39: src\/upstream\/outside\.test\.ts has no test/,
      ],
    ],
  },
  {
    that: 'every policy field is explained and shown',
    find: policyProblems,
    faults: [
      [minus('src/api/policy/README.md', '`FaultInjection`'), /the kind FaultInjection/],
      [
        tree.with({
          'src/api/schema/fault-injection.json': text('src/api/schema/fault-injection.json').replaceAll(
            '"abort"',
            '"blow"',
          ),
        }),
        /FaultInjection shows spec\.blow/,
      ],
    ],
  },
  {
    that: 'links and paths in the documents lead somewhere',
    find: linkProblems,
    faults: [
      [plus('README.md', 'See [this](src/nowhere.md).'), /the link src\/nowhere\.md/],
      [plus('src/README.md', 'See `src/nowhere.ts`.'), /there is no src\/nowhere\.ts/],
    ],
  },
  {
    that: "src/README.md's table 'Where do I add ...' is right",
    find: whereProblems,
    faults: [
      [
        tree.with({
          'src/README.md': text('src/README.md').replaceAll('src/balance/pickers.ts', 'src/balance/pick.ts'),
        }),
        /pick\.ts, which is not there/,
      ],
    ],
  },
]

for (const { that, find, faults } of checks) {
  describe(that, () => {
    it('holds', () => {
      const problems = find(tree)
      assert.equal(problems.length, 0, `\n  ${problems.join('\n  ')}\n`)
    })
    for (const [broken, word] of faults) {
      it(`and would tell: ${word.source}`, () => assert.match(find(broken).join('\n'), word))
    }
  })
}

it('the attack table may lose no row, no reason and no list', () => {
  const [first, second, ...rest] = attackTable
  const told = (table: typeof attackTable): string => attackProblems(tree, table).join('\n')
  assert.match(told([second!, ...rest]), /row 1 is there 0 times/)
  assert.match(told([first!, second!, second!, ...rest]), /row 2 is there 2 times/)
  assert.match(told([{ row: 1, what: 'x' }, second!, ...rest]), /row 1 names no list/)
  assert.match(told([{ ...first!, lists: [] }, second!, ...rest]), /row 1 does not name the vectors/)
  assert.match(told([{ ...first!, lists: ['exchanges'] }, second!, ...rest]), /row 1: the exchanges have no case/)
})

it('the scanner tells code from comments, strings and regular expressions', () => {
  const source = readSource(
    [
      'const a = "x // y" // Date.now()',
      ['/* b */ const c = `t $', '{f({ d: `$', '{1}` })} u`'].join(''),
      `const r = /['"\`]/.test(a) / 2 / 1`,
      'e',
    ].join('\n'),
  )
  assert.equal(source.bare.length, source.code.length)
  assert.deepEqual(
    source.bare.split('\n').map((line) => line.replaceAll(/ +/g, ' ').trim()),
    ['const a =', 'const c = f({ d: 1 })', 'const r = .test(a) / 2 / 1', 'e'],
  )
  assert.match(source.code, /"x \/\/ y" +\n/)
  assert.deepEqual(
    source.strings.filter((part) => part.trim() !== ''),
    ['x // y', 't ', ' u'],
  )
})
