/**
 * `npm test [LANE...]`: runs the lanes in order and says of each what it did; without names, all but those on request.
 * A lane whose needs are not there is named with the remedy; under CI=true that is a failure.
 */
import { globSync } from 'node:fs'
import path from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { missingForChart } from './chart/requirements.ts'
import { openNode } from './cluster/node.ts'
import { missingForCluster } from './cluster/requirements.ts'
import { missingForGrpc } from './grpc/programs.ts'
import { missingForNetns } from './netns/requirements.ts'
import { missingForPeers } from './peers/requirements.ts'

interface Lane {
  readonly name: string
  readonly files: readonly string[]
  /** Files at once. */
  readonly concurrency: number
  /** Of these files, which do not mind each other, those that run first and two at once. */
  readonly together?: readonly string[]
  /** What is missing on this machine, each with its remedy; empty: it can run. */
  readonly missing?: () => readonly string[]
  /** Runs only when it is named. */
  readonly onRequest?: true
  /** What its files share; disposed of when they have run. */
  readonly open?: () => Promise<AsyncDisposable>
  /** Of one file; ten minutes when left out. */
  readonly timeoutMs?: number
}

const lanes: readonly Lane[] = [
  {
    name: 'unit',
    files: [
      'src/**/*.test.ts',
      'control-plane/**/*.test.ts',
      'charts/**/*.test.ts',
      'test/support/**/*.test.ts',
      'test/bench/**/*.test.ts',
      'test/tidy.test.ts',
    ],
    concurrency: 2,
  },
  { name: 'fuzz', files: ['test/fuzz/**/*.test.ts'], concurrency: 2 },
  {
    name: 'integration',
    files: ['test/integration/**/*.test.ts'],
    concurrency: 1,
    // Lists of messages and their verdicts: nothing in them is timed.
    together: [
      'test/integration/{answers-attack,attack-messages,attack-paths,http1-attack,http2-attack,sidecar-attack}.test.ts',
      'test/integration/{http2-answers-attack,example-policies,grpc-route,tls-passthrough}.test.ts',
    ],
  },
  { name: 'netns', files: ['test/netns/**/*.test.ts'], concurrency: 1, missing: missingForNetns },
  { name: 'peers', files: ['test/peers/**/*.test.ts'], concurrency: 1, missing: missingForPeers },
  { name: 'grpc', files: ['test/grpc/**/*.test.ts'], concurrency: 1, missing: missingForGrpc },
  { name: 'chart', files: ['test/chart/**/*.test.ts'], concurrency: 2, missing: missingForChart },
  {
    name: 'cluster',
    files: ['test/cluster/**/!(conformance*).test.ts'],
    concurrency: 1,
    // Nothing of the mesh runs for them, and nothing in them is timed.
    together: ['test/cluster/{crds,node}.test.ts'],
    missing: missingForCluster,
    onRequest: true,
    open: openNode,
    timeoutMs: 15 * 60_000,
  },
  {
    // On the same node; most of its time is the suite's own waiting.
    name: 'conformance',
    files: ['test/cluster/conformance*.test.ts'],
    concurrency: 1,
    missing: missingForCluster,
    onRequest: true,
    open: openNode,
    timeoutMs: 30 * 60_000,
  },
  {
    // What other lanes try in thousands, in millions; what needs minutes to show.
    name: 'long',
    files: ['test/long/**/*.test.ts'],
    concurrency: 1,
    missing: missingForPeers,
    onRequest: true,
    timeoutMs: 120 * 60_000,
  },
]

const root = fileURLToPath(new URL('..', import.meta.url))
// Every file runs in a process of its own, and compiles the same sources again.
process.env['NODE_COMPILE_CACHE'] ??= `${root}/node_modules/.cache/outrigger`
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !lanes.some((lane) => lane.name === name))
if (unknown.length > 0) {
  process.stderr.write(`no lane ${unknown.join(', ')}; lanes: ${lanes.map((lane) => lane.name).join(', ')}\n`)
  process.exit(2)
}

let passed = 0
let failed = 0
let skipped = 0
const report: string[] = []
const notRun: string[] = []

for (const lane of lanes) {
  if (wanted.length > 0 ? !wanted.includes(lane.name) : lane.onRequest) continue
  const missing = lane.missing?.() ?? []
  if (missing.length > 0) {
    notRun.push(lane.name)
    report.push(`${lane.name.padEnd(12)} NOT RUN: ${missing.join('; ')}`)
    continue
  }
  const files = find(lane.files)
  const started = performance.now()
  process.stdout.write(`\n# lane ${lane.name}: ${files.length} files\n`)
  const counts = await openAndRun(lane, files)
  passed += counts.passed
  failed += counts.failed
  skipped += counts.skipped
  if (counts.passed + counts.failed === 0) failed++
  report.push(
    `${lane.name.padEnd(12)} ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  )
}

process.stdout.write(`\n${report.join('\n')}\n`)
if (notRun.length > 0) process.stdout.write(`lanes that did NOT RUN: ${notRun.join(', ')}\n`)
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`)
const incomplete = process.env['CI'] === 'true' && (notRun.length > 0 || skipped > 0)
if (incomplete) process.stdout.write('CI=true: a lane or test that did not run is a failure\n')
process.exit(failed > 0 || incomplete ? 1 : 0)

function find(patterns: readonly string[]): string[] {
  return patterns
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .map((file) => `${root}/${file}`)
    .sort()
}

interface Counts {
  passed: number
  failed: number
  skipped: number
}

/** A lane whose ground cannot be laid has failed, and the next one runs. */
async function openAndRun(lane: Lane, files: string[]): Promise<Counts> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
  try {
    await using _ = await lane.open?.()
    const first = find(lane.together ?? [])
    if (first.length > 0) await runLane(lane, first, 2, counts)
    await runLane(
      lane,
      files.filter((file) => !first.includes(file)),
      lane.concurrency,
      counts,
    )
  } catch (error) {
    process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`)
    counts.failed++
  }
  return counts
}

function runLane(lane: Lane, files: string[], concurrency: number, counts: Counts): Promise<void> {
  return new Promise((resolve) => {
    const stream = run({ files, concurrency, cwd: root, timeout: lane.timeoutMs ?? 600_000 })
    const times = new Map<string, { readonly from: number; until: number }>()
    const note = ({ file }: { readonly file?: string | undefined }): void => {
      const now = performance.now()
      if (file !== undefined) times.set(file, { from: times.get(file)?.from ?? now, until: now })
    }
    for (const event of ['test:dequeue', 'test:complete'] as const) stream.on(event, note)
    // Suites and files are containers; only what asserts counts.
    stream.on('test:pass', (event) => {
      if (event.details.type === 'suite') return
      if (event.skip !== undefined || event.todo !== undefined) counts.skipped++
      else counts.passed++
    })
    stream.on('test:fail', (event) => {
      if (event.details.type !== 'suite') counts.failed++
    })
    stream.on('end', () => {
      process.stdout.write(slowest(times))
      resolve()
    })
    stream.compose(spec).pipe(process.stdout, { end: false })
  })
}

/** Where the time of a lane went. */
function slowest(times: ReadonlyMap<string, { readonly from: number; readonly until: number }>): string {
  const files = [...times].map(([file, { from, until }]) => ({ file, seconds: (until - from) / 1_000 }))
  const long = files
    .filter(({ seconds }) => seconds >= 10)
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, 12)
  if (long.length === 0) return ''
  return `# slowest: ${long.map(({ file, seconds }) => `${path.relative(root, file)} ${seconds.toFixed(0)} s`).join(', ')}\n`
}
