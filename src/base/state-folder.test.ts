import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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
