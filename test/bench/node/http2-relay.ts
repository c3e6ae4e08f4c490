/** A relay as one writes it with node:http2: one session to the upstream, each stream piped, trailers carried over. */
import http2 from 'node:http2'

const [port = '19042', target = 'http://127.0.0.1:19004'] = process.argv.slice(2)
const upstream = http2.connect(target, { settings: { enablePush: false } })
upstream.on('error', (error: Error) => {
  process.stderr.write(`http2-relay: ${error.message}\n`)
})
const server = http2.createServer({ settings: { maxConcurrentStreams: 1_000 } })
server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
  const request = upstream.request(headers)
  request.on('response', (answer) => {
    const trailers: http2.OutgoingHttpHeaders = {}
    request.on('trailers', (came) => Object.assign(trailers, came))
    if (stream.destroyed) return
    // Whether trailers come is not known before they do.
    stream.respond(answer, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    request.pipe(stream)
  })
  stream.pipe(request)
  request.on('error', () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR))
  stream.on('close', () => request.close(http2.constants.NGHTTP2_CANCEL))
  stream.on('error', () => {})
})
server.listen(Number(port), '127.0.0.1')
