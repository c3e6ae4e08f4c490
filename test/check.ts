/** `npm run check`: what must be clean before a commit, in seconds: types, lint, format, unit tests, tidy. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = `${root}/node_modules/.bin`

const steps: readonly (readonly [string, string, readonly string[]])[] = [
  ['types', `${bin}/tsc`, ['--noEmit', '-p', '.']],
  ['format', `${bin}/biome`, ['check', '--error-on-warnings', '.']],
  ['lint', `${bin}/oxlint`, ['--type-aware', '--deny-warnings', '.']],
  ['unit, tidy', process.execPath, ['--disable-warning=ExperimentalWarning', `${root}/test/run.ts`, 'unit']],
]

let failed = false
for (const [name, command, args] of steps) {
  const started = performance.now()
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  process.stdout.write(`${name.padEnd(12)} ${status === 0 ? 'ok' : 'FAILED'} ${seconds} s\n`)
  if (status !== 0) {
    failed = true
    process.stdout.write(`${stdout}${stderr}\n`)
  }
}
process.exit(failed ? 1 : 0)
