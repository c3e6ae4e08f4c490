import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { LinesLog, temporaryFolder } from '../../test/support/control.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { StateFolder } from '../base/state-folder.ts'
import { LastGood } from './last-good.ts'

const saved = { revision: 12n, resources: [Buffer.from('one'), Buffer.from('two')] }

describe('LastGood', () => {
  test('writes once for a burst, after it, the newest', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    const clock = new FakeClock()
    const lastGood = new LastGood({ clock, log: new LinesLog(), state })
    assert.equal(lastGood.load(), undefined)
    let asked = 0
    for (let i = 0; i < 10; i++) {
      lastGood.save(() => {
        asked++
        return { ...saved, revision: BigInt(i) }
      })
      await clock.advance(10)
    }
    assert.equal(asked, 0)
    await clock.advance(500)
    await lastGood.close()
    assert.equal(asked, 1)
    assert.equal(lastGood.load()?.revision, 9n)
    assert.deepEqual(
      lastGood.load()?.resources.map((bytes) => Buffer.from(bytes).toString()),
      ['one', 'two'],
    )
  })

  test('every damage is found', async () => {
    using folder = temporaryFolder()
    using state = StateFolder.open(folder.path)
    const log = new LinesLog()
    const lastGood = new LastGood({ clock: new FakeClock(), log, state })
    lastGood.save(() => saved)
    await lastGood.close()
    const path = join(folder.path, 'policy.bin')
    const good = readFileSync(path)
    for (let i = 0; i < good.length; i++) {
      const bad = Buffer.from(good)
      bad[i]! ^= 0x20
      writeFileSync(path, bad)
      assert.equal(lastGood.load(), undefined, `byte ${i}`)
    }
    for (let length = 0; length < good.length; length++) {
      writeFileSync(path, good.subarray(0, length))
      assert.equal(lastGood.load(), undefined, `cut to ${length}`)
    }
    writeFileSync(path, good.toString('latin1').replace('outrigger-policy 1', 'outrigger-policy 2'), 'latin1')
    log.lines.length = 0
    assert.equal(lastGood.load(), undefined)
    assert.match(log.lines[0] ?? '', /another version of the program/)
    writeFileSync(path, good)
    assert.equal(lastGood.load()?.revision, 12n)
  })

  test('a folder that cannot be written costs the copy and one line, not the process', async () => {
    using folder = temporaryFolder()
    const state = StateFolder.open(join(folder.path, 'state'))
    rmSync(state.path, { recursive: true })
    const log = new LinesLog()
    const clock = new FakeClock()
    const lastGood = new LastGood({ clock, log, state })
    for (let i = 0; i < 3; i++) {
      lastGood.save(() => saved)
      await lastGood.close()
    }
    assert.equal(log.lines.length, 1)
    assert.match(log.lines[0] ?? '', /kept in memory only/)
  })
})
