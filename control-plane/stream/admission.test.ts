import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { beforeEach, test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Admission, admissionLimits } from './admission.ts'

const { atOnce, patienceMs, waitMaxMs } = admissionLimits

class FakeSocket extends EventEmitter {
  remoteAddress: string | undefined = '10.0.0.1'
  readonly remotePort: number
  destroyed = false
  constructor(port: number) {
    super()
    this.remotePort = port
  }
  get peer(): string {
    return `10.0.0.1:${this.remotePort}`
  }
  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }
}

let clock: FakeClock
let entered: number[]
let admission: Admission

beforeEach(() => {
  clock = new FakeClock()
  entered = []
  admission = new Admission(clock, (socket) => void entered.push(socket.remotePort!))
})

function arrive(count: number): FakeSocket[] {
  const sockets = Array.from({ length: count }, (_, port) => new FakeSocket(port))
  for (const socket of sockets) admission.take(socket as unknown as Socket)
  return sockets
}

test('so many go in at once; each that is served, or gone, lets the next one in, in their order', () => {
  const sockets = arrive(atOnce + 3)
  assert.equal(entered.length, atOnce)
  admission.done(sockets[5]!.peer)
  assert.deepEqual(entered.slice(atOnce), [atOnce])
  sockets[6]!.destroy()
  assert.deepEqual(entered.slice(atOnce), [atOnce, atOnce + 1])
  admission.done(sockets[5]!.peer)
  assert.equal(entered.length, atOnce + 2, 'once only')
})

test('who is slow keeps the others out for a moment, and is not cut off', async () => {
  const sockets = arrive(atOnce * 2)
  await clock.advance(patienceMs - 1)
  assert.equal(entered.length, atOnce)
  await clock.advance(1)
  assert.equal(entered.length, atOnce * 2)
  assert.ok(sockets.every((socket) => !socket.destroyed))
})

test('who has waited too long, or is gone, is not let in any more', async () => {
  const sockets = arrive(atOnce * 100)
  sockets[atOnce]!.remoteAddress = undefined
  await clock.advance(waitMaxMs + patienceMs)
  const served = entered.length
  assert.ok(served <= atOnce * (waitMaxMs / patienceMs + 1), `${served}`)
  assert.ok(!entered.includes(atOnce))
  assert.equal(sockets.filter((socket) => socket.destroyed).length, sockets.length - served)
  arrive(1)
  assert.equal(entered.length, served + 1, 'the next one is served at once')
})

test('the end drops those that wait and those that are not served yet', () => {
  const sockets = arrive(atOnce + 2)
  admission.done(sockets[0]!.peer)
  admission.close()
  assert.deepEqual(
    sockets.filter((socket) => !socket.destroyed).map((socket) => socket.remotePort),
    [0],
  )
})

test("an error of a connection that waits is nobody's", () => {
  const [, ...sockets] = arrive(atOnce + 2)
  sockets.at(-1)!.emit('error', new Error('ECONNRESET'))
})
