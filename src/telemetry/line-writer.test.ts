import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { MemorySink } from '../../test/support/telemetry-exchange.ts'
import { systemClock } from '../base/clock.ts'
import { type ByteSink, descriptorSink, LineWriter } from './line-writer.ts'

type Done = Parameters<ByteSink['write']>[1]

/** Takes nothing until it is told to. */
class SlowSink implements ByteSink {
  readonly writes: { bytes: Buffer; done: Done }[] = []
  write(bytes: Buffer, done: Done): void {
    this.writes.push({ bytes, done })
  }
}

function fault(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code })
}

describe('LineWriter', () => {
  it('writes what came within 100 ms in one go', async () => {
    const clock = new FakeClock()
    const sink = new MemorySink()
    const writer = new LineWriter(sink, clock)
    writer.add('one')
    writer.add('two')
    assert.equal(sink.text, '')
    await clock.advance(100)
    assert.equal(sink.text, 'one\ntwo\n')
    assert.equal(clock.pendingTimers, 0)
  })

  it('does not wait when much has come', () => {
    const sink = new MemorySink()
    const writer = new LineWriter(sink, new FakeClock())
    for (let i = 0; i < 20; i++) writer.add('x'.repeat(1_000))
    assert.ok(sink.text.length >= 16_384)
  })

  it('keeps one megabyte for a reader that stalls, then drops and counts, then goes on', async () => {
    const clock = new FakeClock()
    const sink = new SlowSink()
    const writer = new LineWriter(sink, clock)
    for (let i = 0; i < 3_000; i++) writer.add('x'.repeat(999))
    assert.equal(sink.writes.length, 1, 'one write at a time')
    assert.equal(writer.dropped, 3_000 - 1_048)
    const idle = writer.flushed()
    let written = 0
    for (let i = 0; i < sink.writes.length; i++) {
      const { bytes, done } = sink.writes[i]!
      written += bytes.length
      done(null, bytes.length)
    }
    await idle
    assert.equal(written, 1_048 * 1_000)
    writer.add('again')
    await clock.advance(100)
    assert.equal(sink.writes.at(-1)?.bytes.toString(), 'again\n')
  })

  it('writes the rest of a short write, and tries again when the pipe is full', async () => {
    const clock = new FakeClock()
    const sink = new SlowSink()
    const writer = new LineWriter(sink, clock)
    writer.add('abcdef')
    await clock.advance(100)
    sink.writes[0]!.done(null, 3)
    assert.equal(sink.writes[1]!.bytes.toString(), 'def\n')
    sink.writes[1]!.done(fault('EAGAIN'), 0)
    assert.equal(sink.writes.length, 2)
    await clock.advance(50)
    assert.equal(sink.writes[2]!.bytes.toString(), 'def\n')
    sink.writes[2]!.done(null, 4)
    await writer.flushed()
    assert.equal(writer.dropped, 0)
  })

  it('gives up on a reader that is gone, without throwing', async () => {
    const clock = new FakeClock()
    const sink = new SlowSink()
    const writer = new LineWriter(sink, clock)
    writer.add('a')
    const idle = writer.flushed()
    writer.add('b')
    sink.writes[0]!.done(fault('EPIPE'), 0)
    await idle
    writer.add('c')
    await clock.advance(1_000)
    assert.equal(sink.writes.length, 1)
    assert.equal(writer.dropped, 3)
  })

  it('writes to a real descriptor', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'outrigger-log-'))
    const file = join(folder, 'log')
    const fd = openSync(file, 'w')
    const writer = new LineWriter(descriptorSink(fd), systemClock)
    writer.add('one')
    writer.add('two')
    await writer.flushed()
    closeSync(fd)
    assert.equal(readFileSync(file, 'utf8'), 'one\ntwo\n')
    await rm(folder, { recursive: true })
  })
})
