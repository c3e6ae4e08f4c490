/** The list of hostile requests against the engine alone: whole, byte by byte, and cut at every place. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { judge } from '../attack/judge.ts'
import { headOnly, vectors } from '../attack/vectors.ts'
import { type Relay, startRelay } from '../support/http1-relay.ts'
import { converse, Recording, sendRaw, startRecorder } from '../support/raw.ts'

describe('the engine against hostile requests', () => {
  const recording = new Recording()
  const upstream = net.createServer({ noDelay: true }, recording.accept)
  let relay: Relay
  before(async () => {
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    relay = await startRelay((upstream.address() as net.AddressInfo).port)
  })
  after(async () => {
    await relay[Symbol.asyncDispose]()
    upstream.close()
  })

  for (const vector of vectors) {
    it(`row ${vector.row}: ${vector.name} -> ${vector.verdict} (RFC ${vector.rule})`, async () => {
      recording.clear()
      judge(vector, await converse(net.connect(relay.port, '127.0.0.1'), vector.bytes), recording)
    })
  }

  it('refuses the same when each byte comes alone', async () => {
    await using recorder = await startRecorder()
    await using bytewise = await startRelay(recorder.port)
    for (const vector of vectors.filter((v) => v.bytes.length < 400 && v.verdict !== 'served')) {
      recorder.clear()
      const got = await sendRaw(bytewise, [...vector.bytes])
      assert.equal(got.status, vector.verdict, `${vector.name}: ${got.text}`)
      if (headOnly(vector)) assert.equal(recorder.received(), '', vector.name)
      else assert.equal(recorder.requests(), 0, `${vector.name}: a refused request is never whole`)
    }
  })

  it('has a line for every rule, and no two with one name', () => {
    assert.ok(vectors.length >= 300, `${vectors.length} vectors`)
    const names = vectors.map(({ row, name }) => `${row} ${name}`)
    assert.deepEqual(
      names.filter((name, i) => names.indexOf(name) !== i),
      [],
    )
  })
})
