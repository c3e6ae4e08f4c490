import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchMethod } from '../../src/api/services.ts'
import { DeltaMessages } from './delta-messages.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)

test('the same delta is one message, encoded once, and says what it would say alone', () => {
  const messages = new DeltaMessages()
  const upserts = [bytes('a'), bytes('b')]
  const content = { nonce: '7', revision: 7n, upserts, removes: [] }
  const one = messages.delta(content)
  assert.equal(messages.delta({ ...content, upserts: [...upserts] }), one)
  assert.equal(messages.serialize(one), messages.serialize(one))
  assert.deepEqual(messages.serialize(one), watchMethod.responseSerialize(one))
  const { message } = watchMethod.responseDeserialize(messages.serialize(one))
  assert.deepEqual(
    message.case === 'delta' && [message.value.nonce, message.value.revision, message.value.upserts.length],
    ['7', 7n, 2],
  )
})

test('whatever differs makes another message', () => {
  const messages = new DeltaMessages()
  const [a, b] = [bytes('a'), bytes('b')]
  const content = { nonce: '7', revision: 7n, upserts: [a, b], removes: [] as string[] }
  const different = [
    content,
    { ...content, nonce: '7.1' },
    { ...content, upserts: [a] },
    { ...content, upserts: [b, a] },
    { ...content, upserts: [a, bytes('b')] },
    { ...content, removes: ['service/a/b'] },
    { ...content, revision: 8n },
  ].map((one) => messages.delta(one))
  assert.equal(new Set(different).size, different.length)
  for (const one of different) assert.deepEqual(messages.serialize(one), watchMethod.responseSerialize(one))
})
