/**
 * `npm run check`: what must be clean before a commit: types, format, lint, the unit lane (tidy is one of its tests). With
 * `--static` all but the unit lane.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = `${root}/node_modules/.bin`

const steps: readonly (readonly [string, string, readonly string[]])[] = [
  ['types', `${bin}/tsc`, ['--noEmit', '-p', '.']],
  ['format', `${bin}/biome`, ['check', '--error-on-warnings', '.']],
  ['lint', `${bin}/oxlint`, ['--type-aware', '--deny-warnings', '.']],
]
const unit: typeof steps = [
  ['unit, tidy', process.execPath, ['--disable-warning=ExperimentalWarning', `${root}/test/run.ts`, 'unit']],
]

const [option] = process.argv.slice(2)
if (option !== undefined && option !== '--static') {
  process.stderr.write(`unknown option '${option}'; the only one is --static: without the unit lane\n`)
  process.exit(2)
}
let failed = false
for (const [name, command, args] of option === '--static' ? steps : [...steps, ...unit]) {
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
