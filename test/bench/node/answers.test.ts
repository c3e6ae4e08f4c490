import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Answer } from './answers.ts'

const whole = Buffer.from('HTTP/1.1 503 Service Unavailable\r\nA: b\r\nContent-Length: 5\r\n\r\nhello')

test('complete at its last byte, however it is cut', () => {
  for (let cut = 1; cut < whole.length; cut++) {
    const answer = new Answer()
    const second = whole.subarray(cut)
    assert.equal(answer.add(whole, cut), false, `first ${cut} bytes`)
    assert.equal(answer.add(second, second.length), true, `cut after ${cut}`)
    assert.equal(answer.status, 503)
  }
})

test('a connection is used again', () => {
  const answer = new Answer()
  assert.equal(answer.add(whole, whole.length), true)
  answer.reset()
  const empty = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n')
  assert.equal(answer.add(empty, empty.length), true)
  assert.equal(answer.status, 200)
})

test('what cannot be counted is an error', () => {
  const chunked = Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')
  assert.throws(() => new Answer().add(chunked, chunked.length), /Content-Length/)
  const more = Buffer.concat([whole, Buffer.from('!')])
  assert.throws(() => new Answer().add(more, more.length), /more bytes/)
})
