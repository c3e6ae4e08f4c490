/**
 * The applications of the namespace tests: `tool.ts echo PORT | banner PORT | silent PORT | dial ADDRESS PORT [TEXT] |
 * hammer ADDRESS PORT COUNT`. Servers print `ready`, then one JSON line for every connection that is over; dial
 * prints one JSON line.
 */
import { connect, createServer } from 'node:net'

const [role, ...args] = process.argv.slice(2)

if (role === 'echo') serve(Number(args[0]), '', 'echo:')
else if (role === 'banner') serve(Number(args[0]), '220 banner first\r\n', 'after:')
else if (role === 'dial') dial(args[0]!, Number(args[1]), args[2])
else throw new Error(`no role ${role}`)

/** Says `greeting` at once, and at the client's end answers with `prefix` and all that it said. */
function serve(port: number, greeting: string, prefix: string): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const from = socket.remoteAddress
    let received = ''
    if (greeting !== '') socket.write(greeting)
    socket.on('data', (chunk) => {
      received += chunk.toString()
    })
    socket.on('end', () => socket.end(prefix + received))
    socket.on('error', () => {})
    socket.on('close', () => console.log(JSON.stringify({ from, received })))
  })
  server.listen(port, '::', () => console.log('ready'))
}

/** Sends the text and its end; without a text, waits for the server to speak first, then ends. */
function dial(host: string, port: number, text: string | undefined): void {
  const socket = connect({ host, port, allowHalfOpen: true })
  let reply = ''
  let ended = false
  const started = performance.now()
  let firstByteMs = 0
  socket.on('connect', () => {
    if (text !== undefined) socket.end(text)
  })
  socket.on('data', (chunk) => {
    if (reply === '') firstByteMs = performance.now() - started
    reply += chunk.toString()
    if (text === undefined && !socket.writableEnded) socket.end('thanks')
  })
  socket.on('end', () => {
    ended = true
    socket.end()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    const error = (socket.errored as NodeJS.ErrnoException | null)?.code
    console.log(JSON.stringify({ reply, ended, error, firstByteMs }))
  })
}
