import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { cpuSeconds, memory } from './usage.ts'

const onLinux = { skip: process.platform === 'linux' ? false : 'reads /proc' }

test('CPU time of a child that ended counts, as much as it says itself', onLinux, () => {
  const before = cpuSeconds([process.pid])
  const child = spawnSync(process.execPath, [
    '-e',
    'const begin = process.cpuUsage(); while (process.cpuUsage(begin).user < 200_000);',
  ])
  assert.equal(child.status, 0)
  const used = cpuSeconds([process.pid]) - before
  assert.ok(used >= 0.2, `${used} s`)
})

test('memory is summed over descendants, and shared pages are not private ones', onLinux, async () => {
  const alone = memory([process.pid])
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log("up")'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  const both = memory([process.pid])
  child.stdin.end()
  await once(child, 'exit')
  assert.ok(both.rss > alone.rss + 20e6, `${alone.rss} and with a child ${both.rss}`)
  assert.ok(both.uss < both.pss && both.pss < both.rss, `${both.uss} < ${both.pss} < ${both.rss}`)
})

test('a process that is gone has used nothing', onLinux, () => {
  const { pid } = spawnSync('true')
  assert.equal(cpuSeconds([pid]), 0)
  assert.deepEqual(memory([pid]), { rss: 0, pss: 0, uss: 0 })
})
