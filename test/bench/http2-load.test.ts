import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readH2load } from './http2-load.ts'

const text = (failed: number, ok: number, data: number): string => `starting benchmark...
Main benchmark duration is started for thread #0. Stopping all clients.

finished in 2.00s, 500.00 req/s, 70.31KB/s
requests: 1000 total, 1100 started, 1000 done, ${1000 - failed} succeeded, ${failed} failed, ${failed} errored, 0 timeout
status codes: ${ok} 2xx, 0 3xx, 0 4xx, ${1000 - ok} 5xx
traffic: 140.63KB (144000) total, 14.06KB (14400) headers (space savings 90.00%), 125.00KB (${data}) data
`

test('what h2load prints', () => {
  assert.deepEqual(readH2load(text(0, 1000, 128_000), 2, 128, 100), {
    requests: 1000,
    seconds: 2,
    bytes: 128_000,
    void: undefined,
  })
})

test('void: what failed, what was refused, what has no body though its status is 200', () => {
  assert.match(readH2load(text(3, 997, 128_000), 2, 128, 100).void ?? '', /^3 requests failed$/)
  assert.match(readH2load(text(0, 900, 115_200), 2, 128, 100).void ?? '', /^100 answers other than 2xx$/)
  assert.match(
    readH2load(text(0, 1000, 64_000), 2, 128, 100).void ?? '',
    /^1000 answers of 128 bytes were 64000 bytes$/,
  )
  assert.throws(() => readH2load('h2load: cannot connect', 2, 128, 100), /printed no/)
})
