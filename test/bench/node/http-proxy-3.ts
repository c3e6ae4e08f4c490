// http-proxy-3 as its README shows it, with the keep-alive agent that it needs to reuse connections.
import { Agent, createServer } from 'node:http'
import { createProxyServer } from 'http-proxy-3'

const [port = '19040', target = 'http://127.0.0.1:19000'] = process.argv.slice(2)
const proxy = createProxyServer({ target, agent: new Agent({ keepAlive: true, maxSockets: 256 }) })
proxy.on('error', (error: Error) => {
  process.stderr.write(`http-proxy-3: ${error.message}\n`)
})
const server = createServer((request, response) => {
  proxy.web(request, response)
})
server.keepAliveTimeout = 3_600_000
server.listen(Number(port), '127.0.0.1')
