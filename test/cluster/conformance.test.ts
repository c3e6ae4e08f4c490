/** Gateway API's conformance suite, profiles MESH-HTTP and MESH-GRPC, on the real node: with the mesh, without it, and sharper. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { formatProblem } from '../../src/api/documents/format-problem.ts'
import { loadDocuments } from '../../src/api/documents/load-documents.ts'
import { marks } from '../../src/base/kubernetes-names.ts'
import { publishedRoutes } from '../conformance/published.ts'
import {
  extendedFeatures,
  lasting,
  named,
  namespaces,
  profiles,
  runSuite,
  tellFailures,
  tests,
  version,
} from '../conformance/suite.ts'
import { type Cluster, openCluster } from './cluster.ts'
import { installMesh } from './mesh.ts'
import { root } from './state.ts'

/** Kept in the repository; UPDATE_GOLDEN=1 writes it. */
const reportFile = path.join(root, 'test/conformance/report.yaml')
const ourVersion = (JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }).version
const allTests = Object.keys(tests).sort()
const limit = { timeout: 20 * 60_000 }

describe('conformance', () => {
  let cluster: Cluster
  let mesh: AsyncDisposable
  let work: string

  before(async () => {
    cluster = await openCluster()
    mesh = await installMesh(cluster)
    work = mkdtempSync(path.join(tmpdir(), 'outrigger-conformance-'))
    await suiteGone(cluster)
  }, limit)
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
    if (work !== undefined) rmSync(work, { recursive: true })
  })

  test(
    `${profiles.join(', ')} of Gateway API ${version}: core and every extended feature, none skipped`,
    limit,
    async () => {
      const report = path.join(work, 'report.yaml')
      const run = await runSuite(cluster, ourVersion, { namespaceLabels: { [marks.inject]: 'enabled' }, report })
      const meshTests = [...run.outcomes].filter(([name]) => name.startsWith('Mesh'))
      assert.deepEqual(meshTests.map(([name]) => name).sort(), allTests, 'tests of the suite')
      assert.deepEqual(named(run.outcomes, 'FAIL'), [], tellFailures(run))
      assert.deepEqual(named(run.outcomes, 'PASS'), allTests)

      const text = readFileSync(report, 'utf8')
      const said = lasting(text) as Report
      assert.deepEqual([said.gatewayAPIVersion, said.gatewayAPIChannel], [version, 'experimental'])
      assert.deepEqual(
        said.profiles.map(({ name }) => name),
        profiles,
      )
      for (const { name, core } of said.profiles) assert.equal(core.result, 'success', name)
      const [grpc, http] = said.profiles
      assert.equal(grpc?.extended, undefined, 'the suite has extended tests of MESH-GRPC now: look at their features')
      assert.equal(http?.extended?.result, 'success')
      assert.deepEqual([...(http?.extended?.supportedFeatures ?? [])].sort(), extendedFeatures)
      assert.equal(
        http?.extended?.unsupportedFeatures,
        undefined,
        'the profile has no extended feature that is not named',
      )
      if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(reportFile, text)
      assert.ok(existsSync(reportFile), `${reportFile} is missing: run with UPDATE_GOLDEN=1`)
      assert.deepEqual(said, lasting(readFileSync(reportFile, 'utf8')), 'the report that is kept')
      await suiteGone(cluster)
    },
  )

  test('without a mesh the tests that tell fail, so that the run above says something', limit, async (context) => {
    const run = await runSuite(cluster, ourVersion, { consistencySeconds: 4 })
    const passed = named(run.outcomes, 'PASS')
    const failed = named(run.outcomes, 'FAIL')
    context.diagnostic(`pass without a mesh: ${passed.join(', ')}`)
    assert.deepEqual([...passed, ...failed].sort(), allTests, 'the same tests ran')
    const telling = allTests.filter((name) => tests[name as keyof typeof tests] === 'tells')
    assert.deepEqual(
      passed.filter((name) => telling.includes(name)),
      [],
      'these pass without a mesh: they are blind, see test/conformance/suite.ts',
    )
    await suiteGone(cluster)
  })

  test('every HTTPRoute and GRPCRoute that Gateway API publishes loads', () => {
    const routes = publishedRoutes()
    const counts = ['HTTPRoute', 'GRPCRoute'].map((kind) => routes.filter(({ route }) => route.kind === kind).length)
    assert.ok(counts[0]! > 100 && counts[1]! > 5, `${counts.join(', ')} routes`)
    for (const { file, route } of routes) {
      const { problems } = loadDocuments([{ path: file, text: JSON.stringify(route) }])
      assert.deepEqual(
        problems.map((problem) => formatProblem(problem)),
        [],
        `${file} ${route.metadata.name}`,
      )
    }
  })
})

interface Report {
  readonly gatewayAPIVersion: string
  readonly gatewayAPIChannel: string
  readonly profiles: readonly {
    readonly name: string
    readonly core: { readonly result: string }
    /** Without an extended test that has run there is none. */
    readonly extended?: {
      readonly result: string
      readonly supportedFeatures: readonly string[]
      readonly unsupportedFeatures?: readonly string[]
    }
  }[]
}

/** The suite deletes its namespaces at its end, and does not wait; the next run must not meet their last pods. */
async function suiteGone(cluster: Cluster): Promise<void> {
  await cluster.kubectl(['delete', 'namespace', ...namespaces, '--ignore-not-found', '--wait', '--timeout=120s'], {
    timeoutMs: 125_000,
  })
}
