// fast-proxy in its undici mode, the faster of its two.
import { createServer } from 'node:http'
import fastProxy from 'fast-proxy'

const [port = '19041', base = 'http://127.0.0.1:19000'] = process.argv.slice(2)
const fast = fastProxy({ base, undici: { connections: 64, pipelining: 1 } })
const server = createServer((request, response) => {
  fast.proxy(request, response, request.url ?? '/', {})
})
server.keepAliveTimeout = 3_600_000
server.listen(Number(port), '127.0.0.1')
