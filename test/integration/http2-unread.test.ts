import assert from 'node:assert/strict'
import { it } from 'node:test'
import { http2Limits } from '../../src/http2/limits.ts'
import { eventually } from '../support/control.ts'
import { Http2App } from '../support/http2/app.ts'
import { RawHttp2, requestFields } from '../support/http2/raw.ts'
import { startHttp2Relay } from '../support/http2-relay.ts'

const MiB = 1_048_576
/** More than the kernel takes for both ends of a connection: the buffer of an end that does not read does not grow. */
const kernelMax = 16 * MiB
/** Each of these goes to the kernel past the stream of its socket, which then knows nothing of it. */
const answerBytes = 3_000

// Rows 17 to 20 are floods of requests that nobody answers, or that are refused; these are answered, one at a time.
it('a client that asks on and reads no answer: the connection ends', { timeout: 120_000 }, async () => {
  await using app = await Http2App.start()
  app.handle = (stream) => {
    stream.respond({ ':status': 200, 'content-length': answerBytes })
    stream.end(Buffer.alloc(answerBytes, 'x'))
  }
  await using relay = await startHttp2Relay(app.port)
  using client = await RawHttp2.open(relay)
  await client.until(() => client.settings.maxConcurrentStreams !== undefined)
  client.socket.pause()
  let asked = 0
  const most = (kernelMax + 2 * http2Limits.unreadBytesMax) / answerBytes
  while (relay.dropped.length === 0 && asked < most) {
    client.request(requestFields({ authority: 'app', path: '/' }))
    asked++
    const answered = (): boolean => relay.exchanges.length >= asked && app.open === 0
    await eventually(() => answered() || relay.dropped.length > 0, `${asked} requests are answered`)
  }
  const codes = relay.dropped.map(({ code }) => code)
  assert.deepEqual(codes, ['FLOOD'], `${asked} answers of ${answerBytes} bytes were asked for`)
})
