import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { headOnly, vectors } from '../attack/vectors.ts'
import { startRelay } from '../support/http1-relay.ts'
import { sendRaw, startRecorder } from '../support/raw.ts'

describe('the engine against hostile requests', () => {
  for (const vector of vectors) {
    it(`row ${vector.row}: ${vector.name} -> ${vector.verdict} (RFC ${vector.rule})`, async () => {
      await using recorder = await startRecorder()
      await using relay = await startRelay(recorder.port)
      const got = await sendRaw(relay, vector.bytes)
      if (vector.verdict === 'served') {
        assert.equal(got.status, 200, got.text)
        if (vector.never !== undefined) assert.doesNotMatch(recorder.received(), vector.never)
        if (vector.must !== undefined) assert.match(recorder.received(), vector.must)
        return
      }
      assert.equal(got.status, vector.verdict, got.text)
      assert.match(got.text, /connection: close/)
      if (headOnly(vector)) assert.equal(recorder.received(), '', 'a refused request sends zero bytes upstream')
    })
  }

  it('refuses the same when each byte comes alone', async () => {
    await using recorder = await startRecorder()
    await using relay = await startRelay(recorder.port)
    for (const vector of vectors.filter((v) => v.bytes.length < 200 && headOnly(v))) {
      const got = await sendRaw(relay, [...vector.bytes])
      assert.equal(got.status, vector.verdict, vector.name)
    }
    assert.equal(recorder.received(), '')
  })
})
