/** Gateway API's conformance suite, profile MESH-HTTP, on the real node: with the mesh, without it, and sharper. */
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
  notYet,
  profile,
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

  test(`${profile} of Gateway API ${version}: core and every extended feature, none skipped`, limit, async () => {
    const report = path.join(work, 'report.yaml')
    const run = await runSuite(cluster, ourVersion, { namespaceLabels: { [marks.inject]: 'enabled' }, report })
    const meshTests = [...run.outcomes].filter(([name]) => name.startsWith('Mesh'))
    assert.deepEqual(meshTests.map(([name]) => name).sort(), [...allTests, ...notYet].sort(), 'tests of the suite')
    assert.deepEqual(named(run.outcomes, 'FAIL'), [], tellFailures(run))
    assert.deepEqual(named(run.outcomes, 'PASS'), allTests)

    const text = readFileSync(report, 'utf8')
    const said = lasting(text) as Report
    assert.deepEqual([said.gatewayAPIVersion, said.gatewayAPIChannel], [version, 'experimental'])
    const [only, ...others] = said.profiles
    assert.deepEqual([only?.name, others], [profile, []])
    assert.equal(only?.core.result, 'success')
    assert.equal(only?.extended.result, 'success')
    assert.deepEqual([...(only?.extended.supportedFeatures ?? [])].sort(), extendedFeatures)
    assert.equal(only?.extended.unsupportedFeatures, undefined, 'the profile has no extended feature that is not named')
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(reportFile, text)
    assert.ok(existsSync(reportFile), `${reportFile} is missing: run with UPDATE_GOLDEN=1`)
    assert.deepEqual(said, lasting(readFileSync(reportFile, 'utf8')), 'the report that is kept')
    await suiteGone(cluster)
  })

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

  test('every HTTPRoute that Gateway API publishes loads', () => {
    const routes = publishedRoutes()
    assert.ok(routes.length > 100, `${routes.length} routes`)
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
    readonly extended: {
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
