/** ghz on two connections while the sidecars of both servers are replaced: not one call may fail. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { RealMesh } from '../support/real-mesh.ts'
import { replaceSidecars } from '../support/rolling-restarts.ts'
import { peerProgram } from './programs.ts'

// No retries: what is lost is seen.
const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: test }
spec: { mtls: { mode: STRICT } }
`

interface Report {
  readonly count: number
  readonly statusCodeDistribution: Readonly<Record<string, number>>
  readonly errorDistribution: Readonly<Record<string, number>> | null
}

test('a rolling restart of the servers’ sidecars costs no call', { timeout: 300_000 }, async () => {
  await using mesh = await RealMesh.start(policies, { speaks: 'grpc' })
  const { host, port } = mesh.outbound
  const proto = join(import.meta.dirname, 'echo.proto')
  const load = ['--concurrency=8', '--connections=2', '--duration=10m', '--duration-stop=wait', '--format=json']
  const call = ['--insecure', '--authority=server:8080', `--proto=${proto}`, '--call=test.Echo/Unary']
  const ghz = spawn(peerProgram('ghz'), [...call, '--data={"body":"aGVsbG8="}', ...load, `${host}:${port}`])
  let [stdout, stderr] = ['', '']
  ghz.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  ghz.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = once(ghz, 'close')
  try {
    await replaceSidecars(mesh, 4, async () => callsOver(await mesh.metrics('client')))
  } finally {
    // It waits for what is under way, and reports.
    ghz.kill('SIGINT')
    await ended
  }
  const report = JSON.parse(stdout) as Report
  const { count, statusCodeDistribution, errorDistribution } = report
  assert.deepEqual(Object.keys(statusCodeDistribution), ['OK'], `${JSON.stringify(errorDistribution)} ${stderr}`)
  assert.ok(count > 1_000, `${count} calls`)
})

/** By what the client's sidecar counts. */
function callsOver(metrics: string): number {
  const found = [...metrics.matchAll(/^outrigger_rpc_calls_total\{[^}]*rpc_response_status_code="OK"[^}]*\} (\d+)/gm)]
  return found.reduce((sum, match) => sum + Number(match[1]), 0)
}
