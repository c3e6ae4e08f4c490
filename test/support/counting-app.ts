/**
 * An application as its own process: answers `ok NAME` on HOST:PORT, and tells at /seen how many requests it had before. A body
 * sent to /held is never read.
 */
import { createServer } from 'node:http'

let seen = 0
const { HOST, PORT, NAME } = process.env
createServer((request, response) => {
  if (request.url === '/seen') return void response.end(String(seen))
  seen++
  if (request.url === '/held') return
  response.end(`ok ${NAME}`)
}).listen(Number(PORT), HOST, () => process.stdout.write('listening\n'))
