/** What a stream may do: end one way first, come byte by byte, be long, be read slowly. The whole set with 1 GiB is in test/long. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { byteByByte, held, kindText, MiB, type StreamKind, StreamMesh, transfer } from '../support/streams.ts'

/** Each carrier and way once: in plaintext, or over mTLS. */
const kinds: Record<'DISABLE' | 'STRICT', readonly StreamKind[]> = {
  DISABLE: [
    { carrier: 'tcp', way: 'down' },
    { carrier: 'counted', way: 'up' },
    { carrier: 'chunked', way: 'down' },
  ],
  STRICT: [
    { carrier: 'tcp', way: 'up' },
    { carrier: 'counted', way: 'down' },
    { carrier: 'chunked', way: 'up' },
  ],
}

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  await once(socket, 'end')
  return text
}

for (const mode of ['DISABLE', 'STRICT'] as const) {
  describe(`streams, mTLS ${mode}`, { timeout: 120_000 }, () => {
    let mesh: StreamMesh
    before(async () => {
      mesh = await StreamMesh.start(mode)
    })
    after(() => mesh[Symbol.asyncDispose]())

    it('either side may end first, and the other goes on', async () => {
      for (const first of ['client', 'server'] as const) {
        const ends = await mesh.connect()
        const [one, other] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client]
        one.end('my last word')
        assert.equal(await readAll(other), 'my last word')
        const heard = readAll(one)
        for (const word of ['still ', 'here ', 'yet']) {
          other.write(word)
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        other.end()
        assert.equal(await heard, 'still here yet', `${first} ends first`)
        assert.equal(one.errored, null)
        assert.equal(other.errored, null)
      }
    })

    it('a reset of either side is a reset for the other', async () => {
      for (const first of ['client', 'server'] as const) {
        const ends = await mesh.connect()
        const [one, other] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client]
        one.write('half a mess')
        await once(other, 'data')
        const closed = new Promise<boolean>((resolve) => void other.once('close', resolve))
        let ended = false
        other.on('end', () => {
          ended = true
        })
        one.resetAndDestroy()
        assert.equal(await closed, true, 'with an error')
        assert.equal(ended, false, `${first} resets`)
      }
    })

    for (const kind of kinds[mode]) {
      it(`${kindText(kind)}: 10,000 writes of one byte`, () => byteByByte(mesh, kind))
      it(`${kindText(kind)}: a reader that stands still holds the writer, and a slow one gets all of it`, () =>
        held(mesh, kind))
    }
  })
}

it('512 MiB over mTLS in flat memory', { timeout: 120_000 }, async () => {
  await using mesh = await StreamMesh.start('STRICT')
  const bytes = 512 * MiB
  const { grownBytes } = await transfer(await mesh.open({ carrier: 'counted', way: 'up' }, bytes), bytes)
  assert.ok(grownBytes < 160 * MiB, `${grownBytes / MiB} MiB more`)
})
