import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { OrphanGuard } from './orphan-guard.ts'
import { Program, type ProgramSpec, type UnexpectedEnd } from './program.ts'

const folder = mkdtempSync(join(tmpdir(), 'outrigger-program-'))
after(() => rmSync(folder, { recursive: true }))

function shell(name: string, script: string, extra: Partial<ProgramSpec> = {}): ProgramSpec {
  const logFile = join(folder, `${name}.log`)
  return {
    name,
    command: '/bin/sh',
    args: ['-c', script],
    cwd: folder,
    env: { PATH: '/usr/bin:/bin' },
    logFile,
    ...extra,
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A process whose end nobody has awaited yet is a zombie: dead, but it has its number.
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ')
  } catch {
    return false
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

test('a process that dies is reported with its last lines and started again', async () => {
  using guard = new OrphanGuard()
  const ends: UnexpectedEnd[] = []
  const died = Promise.withResolvers<void>()
  const program = new Program(shell('dies', 'echo one; echo two >&2; exit 3'), systemClock, guard, (end) => {
    ends.push(end)
    if (ends.length === 2) died.resolve()
  })
  await program.start()
  await died.promise
  await program.stop(1_000)
  assert.equal(ends[0]?.cause, 'exit code 3')
  assert.deepEqual(ends[0]?.lastLines, ['one', 'two'])
  assert.equal(ends[0]?.restartInMs, 500)
  assert.equal(ends[1]?.restartInMs, 1_000)
  assert.equal(program.pid, undefined)
})

test('a command that does not exist is reported, not thrown', async () => {
  using guard = new OrphanGuard()
  const end = Promise.withResolvers<UnexpectedEnd>()
  const spec = { ...shell('missing', ''), command: '/no/such/program' }
  const program = new Program(spec, systemClock, guard, (e) => end.resolve(e))
  await program.start()
  assert.match((await end.promise).cause, /ENOENT/)
  await program.stop(1_000)
})

test('the secret comes by file descriptor 3 and stands in no command line', async () => {
  using guard = new OrphanGuard()
  const secret = 'token-4711'
  const spec = shell('secret', 'read -r t <&3 || :; echo "got $t"; exec sleep 60', { secret: async () => secret })
  const program = new Program(spec, systemClock, guard, () => {})
  await program.start()
  await until(() => readFileSync(spec.logFile, 'utf8').includes('got '))
  assert.equal(readFileSync(spec.logFile, 'utf8'), `got ${secret}\n`)
  await program.stop(1_000)
})

test('stop kills a process that ignores SIGTERM, and what it had started', async () => {
  using guard = new OrphanGuard()
  const spec = shell('stubborn', "trap '' TERM; sleep 60 & echo $!; wait; sleep 60")
  const program = new Program(spec, systemClock, guard, () => {})
  await program.start()
  await until(() => /\d+\n/.test(readFileSync(spec.logFile, 'utf8')))
  const grandchild = Number(readFileSync(spec.logFile, 'utf8'))
  const { pid } = program
  assert.ok(pid !== undefined && isAlive(pid) && isAlive(grandchild))
  await program.stop(50)
  await until(() => !isAlive(pid) && !isAlive(grandchild))
})

test('children end when this process is killed with no chance to act', async () => {
  const logFile = join(folder, 'orphan.log')
  const script = `
    import { Program } from ${JSON.stringify(import.meta.resolve('./program.ts'))}
    import { OrphanGuard } from ${JSON.stringify(import.meta.resolve('./orphan-guard.ts'))}
    import { systemClock } from ${JSON.stringify(import.meta.resolve('../../base/clock.ts'))}
    const spec = { name: 'child', command: 'sleep', args: ['60'], cwd: '/', env: process.env, logFile: ${JSON.stringify(logFile)} }
    const program = new Program(spec, systemClock, new OrphanGuard(), () => {})
    await program.start()
    console.log(program.pid)
  `
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const child = Number(line.toString())
  assert.ok(isAlive(child))
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  await until(() => !isAlive(child))
})
