/**
 * Where every traced cell exports to: accepts OTLP http/protobuf on any path, counts requests and spans,
 * answers 200. `GET /` says the counts. Runs on the generator's CPU.
 */
import { createServer } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { countSpans } from './count-spans.ts'

const [port = '19001'] = process.argv.slice(2)
let exports = 0
let spans = 0

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ exports, spans }))
    return
  }
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    exports += 1
    spans += countSpans(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body)
    response.setHeader('content-type', 'application/x-protobuf')
    response.end()
  })
})
server.keepAliveTimeout = 3_600_000
server.listen(Number(port), '127.0.0.1')
