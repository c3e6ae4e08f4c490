import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { describe, test } from 'node:test'
import { temporaryFolder } from '../../test/support/control.ts'
import { defaultStateFolder, StateFolder } from './state-folder.ts'

const mode = (path: string): number => statSync(path).mode & 0o777

describe('StateFolder', () => {
  test('is private, keeps what it is given, and is free again after close', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'a', 'b')
    {
      using state = StateFolder.open(path)
      assert.equal(mode(path), 0o700)
      assert.equal(await state.read('key'), undefined)
      await state.write('key', 'secret')
      await state.write('key', 'newer')
      assert.equal(mode(join(path, 'key')), 0o600)
      assert.equal((await state.read('key'))?.toString(), 'newer')
      assert.equal(state.readSync('key')?.toString(), 'newer')
      await state.remove('key')
      assert.equal(state.readSync('key'), undefined)
      assert.deepEqual(readdirSync(path), ['lock'], 'no drafts are left')
    }
    assert.deepEqual(readdirSync(path), [])
    StateFolder.open(path).close()
  })

  test('is held by one at a time, within a process and between processes', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    assert.throws(
      () => StateFolder.open(folder.path),
      new RegExp(`in use by process ${process.pid}: stop it, or choose .*--state-dir`),
    )
    state.close()

    const module = new URL('./state-folder.ts', import.meta.url).href
    const script = `import { StateFolder } from ${JSON.stringify(module)}; StateFolder.open(process.argv[1]); console.log('held'); setInterval(() => {}, 1000)`
    const other = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, folder.path],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const ended = new Promise((resolve) => other.once('exit', resolve))
    try {
      await new Promise((resolve) => other.stdout.once('data', resolve))
      assert.throws(() => StateFolder.open(folder.path), new RegExp(`in use by process ${other.pid}`))
    } finally {
      other.kill('SIGKILL')
      await ended
    }
    assert.equal(existsSync(join(folder.path, 'lock')), true)
    StateFolder.open(folder.path).close()
  })

  test('a lock of a process that is gone, was born later, or was never written whole holds nobody up', () => {
    using folder = temporaryFolder()
    const lock = join(folder.path, 'lock')
    const stale = [
      '',
      '{"pid":',
      '[]',
      '{"pid":"1","born":""}',
      JSON.stringify({ pid: 2 ** 30, born: '' }),
      // Our own pid in an earlier life, as in a container that is restarted.
      JSON.stringify({ pid: process.pid, born: 'earlier' }),
      JSON.stringify({ pid: process.ppid, born: 'an earlier boot 1' }),
    ]
    for (const content of stale) {
      writeFileSync(lock, content)
      StateFolder.open(folder.path).close()
    }
    const stat = readFileSync(`/proc/${process.ppid}/stat`, 'latin1')
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    const born = `${boot} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`
    writeFileSync(lock, JSON.stringify({ pid: process.ppid, born }))
    assert.throws(() => StateFolder.open(folder.path), /in use by process/)
  })

  test('the lock of a process that has ended and that nobody waits for (a zombie) holds nobody up', async () => {
    using folder = temporaryFolder()
    // sh becomes a sleep, which never asks for its child: once that ends it stays a zombie until the sleep ends too. The
    // child is told to end only then, for a shell may well ask for a child that is faster than its exec.
    const parent = spawn('sh', ['-c', 'sh -c "read line <&3" & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    })
    const ended = new Promise((resolve) => parent.once('exit', resolve))
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    try {
      const pid = Number(await new Promise((resolve) => parent.stdout!.once('data', (chunk) => resolve(String(chunk)))))
      while (readFileSync(`/proc/${parent.pid}/comm`, 'latin1') !== 'sleep\n') await turn()
      ;(parent.stdio[3] as Writable).end()
      while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) await turn()
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
      const born = `${boot} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`
      writeFileSync(join(folder.path, 'lock'), JSON.stringify({ pid, born }))
      StateFolder.open(folder.path).close()
    } finally {
      parent.kill('SIGKILL')
      await ended
    }
  })

  test('of several that find the lock of a process that is gone one gets it', async () => {
    using folder = temporaryFolder()
    const module = new URL('./state-folder.ts', import.meta.url).href
    // Each opens at the same moment, says what came of it, and holds on until it is told to let go.
    const script = `import { StateFolder } from ${JSON.stringify(module)}
      let state
      process.stdin.on('data', (said) => {
        if (String(said) === 'let go\\n') { state?.close(); state = undefined; console.log('free'); return }
        try { state = StateFolder.open(process.argv[1]); console.log('held') } catch (error) { console.log(error.message) }
      }); console.log('ready')`
    const processes = Array.from({ length: 4 }, () =>
      spawn(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, folder.path],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      ),
    )
    type Process = (typeof processes)[number]
    const ends = processes.map((process) => new Promise((resolve) => process.once('exit', resolve)))
    const said = (process: Process): Promise<string> =>
      new Promise((resolve) => process.stdout.once('data', (chunk) => resolve(String(chunk).trim())))
    const tell = (what: string): Promise<string[]> => {
      const answers = processes.map(said)
      for (const process of processes) process.stdin.write(what)
      return Promise.all(answers)
    }
    const gone = [
      JSON.stringify({ pid: 2 ** 30, born: '' }),
      // Never written whole.
      '',
    ]
    const guard = createHash('sha256').update(gone[0]!).digest('hex').slice(0, 16)
    try {
      await Promise.all(processes.map(said))
      for (let round = 0; round < 60; round++) {
        writeFileSync(join(folder.path, 'lock'), gone[round % gone.length]!)
        // In the rounds of the first kind now and then someone died while he was taking it over.
        if (round % 6 === 0)
          writeFileSync(join(folder.path, `lock.${guard}`), JSON.stringify({ pid: 2 ** 30 - 1, born: '' }))
        const outcomes = await tell('open\n')
        assert.equal(outcomes.filter((outcome) => outcome === 'held').length, 1, outcomes.join('\n'))
        for (const outcome of outcomes) assert.match(outcome, /^held$|in use by process|try again/)
        assert.deepEqual(readdirSync(folder.path), ['lock'], 'neither drafts nor guards are left')
        assert.deepEqual(new Set(await tell('let go\n')), new Set(['free']))
      }
    } finally {
      for (const process of processes) process.kill('SIGKILL')
      await Promise.all(ends)
    }
  })

  test('drafts of a process that was killed in the middle of a write are gone, and do not stand in the way', async () => {
    using folder = temporaryFolder()
    const drafts = [`key.${process.pid}.0.tmp`, 'identity.json.1.17.tmp', `lock.${2 ** 30}.0.tmp`]
    for (const name of drafts) writeFileSync(join(folder.path, name), 'half')
    writeFileSync(join(folder.path, `lock.${process.ppid}.0.tmp`), 'of one that is about to try')
    using state = StateFolder.open(folder.path)
    await state.write('key', 'whole')
    assert.equal(state.readSync('key')?.toString(), 'whole')
    assert.deepEqual(readdirSync(folder.path).sort(), ['key', 'lock', `lock.${process.ppid}.0.tmp`].sort())
  })

  test('a lock that someone else has taken meanwhile is left to him', () => {
    using folder = temporaryFolder()
    const state = StateFolder.open(folder.path)
    const lock = join(folder.path, 'lock')
    const other = JSON.stringify({ pid: process.ppid, born: '' })
    writeFileSync(lock, other)
    state.close()
    assert.equal(readFileSync(lock, 'utf8'), other)
  })

  test('what is wrong with it is said in one line with the remedy', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'file')
    writeFileSync(file, '')
    assert.throws(() => StateFolder.open(file), /--state-dir/)
    assert.throws(
      () => StateFolder.open(join(file, 'sub')),
      /a part of the path is a file: choose another folder with --state-dir/,
    )
    const open = join(folder.path, 'open')
    mkdirSync(open)
    chmodSync(open, 0o755)
    assert.throws(() => StateFolder.open(open), /open to other users: run 'chmod 700 /)
    assert.throws(
      () => StateFolder.open('/proc/nothing/here'),
      (error: unknown) => {
        assert.ok(error instanceof Error)
        assert.equal(error.name, 'StateFolderError')
        assert.equal(error.message.includes('\n'), false)
        return true
      },
    )
    using state = StateFolder.open(join(folder.path, 'fine'))
    await assert.rejects(state.write('no/such/folder', 'x'), { name: 'StateFolderError' })
    assert.throws(() => state.readSync('.'), { name: 'StateFolderError' })
  })

  test('its default is in the user’s state folder', () => {
    assert.equal(defaultStateFolder({ XDG_STATE_HOME: '/var/state' }), '/var/state/outrigger')
    assert.match(defaultStateFolder({ XDG_STATE_HOME: '' }), /\/\.local\/state\/outrigger$/)
  })
})
