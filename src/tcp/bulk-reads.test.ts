import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bulkBuffers, smallRead } from './bulk-buffers.ts'
import { BulkReads } from './bulk-reads.ts'
import { writesDirectly } from './direct-writes.ts'
import type { StaticReads } from './static-reads.ts'

/** Where the next read would go. */
function reads(): { bulk: BulkReads; shared: Buffer; next: () => Buffer } {
  const shared: Buffer = Buffer.alloc(1)
  let next: Buffer = shared
  const switchTo = (buffer: Buffer): void => {
    next = buffer
  }
  return { bulk: new BulkReads({ switchTo } as unknown as StaticReads, shared), shared, next: () => next }
}

const much = smallRead + 1

describe('buffers of bodies', { skip: writesDirectly ? false : 'this Node writes through streams only' }, () => {
  it('small reads, and reads of no body, share one', () => {
    const { bulk, shared, next } = reads()
    bulk.after(smallRead, true, true)
    bulk.after(much, false, true)
    assert.equal(next(), shared)
  })

  it('a body that moves much has its own, and the next one too, until little moves', () => {
    const { bulk, shared, next } = reads()
    bulk.after(much, true, true)
    const own = next()
    assert.notEqual(own, shared)
    assert.ok(bulkBuffers.has(own.subarray(5, 9)))
    bulk.after(much, true, false)
    bulk.after(much, false, true)
    assert.equal(next(), own)
    bulk.after(10, true, true)
    assert.equal(next(), shared)
    assert.equal(bulkBuffers.take(), own, 'it is there for the next one')
  })

  it('a read that is held or not all written keeps it, however small', () => {
    const { bulk, shared, next } = reads()
    bulk.after(much, true, true)
    bulk.after(10, true, false)
    assert.notEqual(next(), shared)
  })

  it('a connection that lies idle gives it back', () => {
    const { bulk, shared, next } = reads()
    bulk.after(much, true, true)
    const own = next()
    bulk.leave()
    bulk.leave()
    assert.equal(next(), shared)
    assert.equal(bulkBuffers.take(), own)
    assert.notEqual(bulkBuffers.take(), own, 'once')
  })

  it('a body that ends while its last bytes wait leaves the buffer to them: nobody else reads into it before they are out', () => {
    const { bulk, shared, next } = reads()
    bulk.after(much, true, true)
    const own = next()
    bulkBuffers.waits(own.subarray(0, 5))
    bulkBuffers.waits(own.subarray(5, 9))
    bulk.leave()
    assert.equal(next(), shared)
    bulkBuffers.written(own.subarray(0, 5))
    const taken = Array.from({ length: 20 }, () => bulkBuffers.take())
    assert.ok(!taken.includes(own))
    bulkBuffers.written(own.subarray(5, 9))
    assert.equal(bulkBuffers.take(), own)
    assert.notEqual(bulkBuffers.take(), own, 'once')
  })

  it('one that is written to its end while it is read into stays with its connection', () => {
    const { bulk, next } = reads()
    bulk.after(much, true, true)
    const own = next()
    bulkBuffers.waits(own)
    bulkBuffers.written(own)
    assert.equal(next(), own)
    assert.notEqual(bulkBuffers.take(), own)
    bulk.leave()
    assert.equal(bulkBuffers.take(), own, 'nothing waits')
  })

  it('a message after a large one is read into a buffer of its own, its head alone too; one after a small one is not', () => {
    const { bulk, shared, next } = reads()
    bulk.begin()
    assert.equal(next(), shared)
    bulk.after(much, true, true)
    bulk.after(10, true, true)
    assert.equal(next(), shared)
    bulk.begin()
    const own = next()
    assert.notEqual(own, shared)
    bulk.after(200, true, true)
    assert.equal(next(), own)
    bulk.after(much, true, true)
    bulk.after(10, false, true)
    assert.equal(next(), shared)
    bulk.begin()
    bulk.after(200, false, true)
    bulk.leave()
    bulk.begin()
    assert.equal(next(), shared)
  })
})
