import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { Backoff } from './backoff.ts'
import { explainFailure, waitMaxMs } from './failure.ts'

const clock = new FakeClock()
const explain = (text: string): string => explainFailure(new Error(text), '10.0.0.1:15012', clock)

const cases: [text: string, says: RegExp][] = [
  [
    '14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 10.0.0.1:15012',
    /nothing listens on 10\.0\.0\.1:15012: start/,
  ],
  ['14 UNAVAILABLE: No connection established. Last error: certificate is not yet valid', /compare the clocks/],
  ['14 UNAVAILABLE: No connection established. Last error: certificate has expired', /compare the clocks/],
  ['14 UNAVAILABLE: No connection established. Last error: unable to verify the first certificate', /root\.pem/],
  ['14 UNAVAILABLE: No connection established. Last error: self-signed certificate in certificate chain', /root\.pem/],
  ['14 UNAVAILABLE: Name resolution failed for target dns:nowhere:15012', /does not resolve/],
  ['16 UNAUTHENTICATED: the join token has expired: make a new one', /^the join token has expired: make a new one$/],
  ['something\nelse', /^something else$/],
]
for (const [text, says] of cases) test(`explains: ${text.slice(0, 60)}`, () => assert.match(explain(text), says))

test('waits grow from 100 ms with jitter, and never past what the failure deserves', () => {
  const backoff = new Backoff(clock, 100, 10_000)
  const refusal = Object.assign(new Error('16 UNAUTHENTICATED: no'), { code: 16 })
  const waits = Array.from({ length: 12 }, () => backoff.next(waitMaxMs(refusal)))
  for (const [i, wait] of waits.entries()) {
    const full = Math.min(10_000, 100 * 2 ** i)
    assert.ok(wait >= full / 2 && wait <= full, `wait ${i} is ${wait}`)
  }
  // An hour of nobody there: still back within 2 s of the control plane's return, and at most some one dial a second.
  const away = new Error('14 UNAVAILABLE: connect ECONNREFUSED')
  for (let i = 0; i < 3_600; i++) {
    const wait = backoff.next(waitMaxMs(away))
    assert.ok(wait >= 650 && wait <= 1_300)
  }
  backoff.reset()
  assert.ok(backoff.next() <= 100)
})
