/**
 * The applications of the namespace tests, one role a process. Servers print `ready`, then one JSON line for every
 * connection; clients print one JSON line and end.
 */
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingHttpHeaders, request } from 'node:http'
import { connect, createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'

const [role = '', ...args] = process.argv.slice(2)
const [first = '', second = '', third = ''] = args

const roles: Readonly<Record<string, () => void>> = {
  /** echo PORT */
  echo: () => serve(Number(first), '', 'echo:'),
  /** banner PORT */
  banner: () => serve(Number(first), '220 banner first\r\n', 'after:'),
  /** dial ADDRESS PORT [TEXT] */
  dial: () => dial(first, Number(second), args[2]),
  /** http PORT */
  http: () => serveHttp(Number(first)),
  /** get URL [BODY] */
  get: () => get(first, args[1]),
  /** tls ADDRESS PORT KEY_AND_CERTIFICATE_FILE: an HTTP request under that certificate */
  tls: () => dialTls(first, Number(second), third),
  /** udp-echo PORT */
  'udp-echo': () => serveUdp(Number(first)),
  /** udp ADDRESS PORT TEXT */
  udp: () => askUdp(first, Number(second), third),
  /** await URL: until it answers 200 */
  await: () => awaitOk(first),
}
const play = roles[role]
if (play === undefined) throw new Error(`no role ${role}`)
play()

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

/** Answers with what was sent. Prints connections too: a refused peer must not get even that far. */
function serveHttp(port: number): void {
  const server = createHttpServer((incoming, response) => {
    let body = ''
    incoming.on('data', (chunk) => {
      body += chunk.toString()
    })
    incoming.on('end', () => {
      console.log(JSON.stringify({ is: 'request', url: incoming.url, headers: incoming.headers, body }))
      response.end(`http:${body}`)
    })
  })
  server.on('connection', (socket) => console.log(JSON.stringify({ is: 'connection', from: socket.remoteAddress })))
  server.listen(port, '::', () => console.log('ready'))
}

function get(url: string, body: string | undefined): void {
  const print = (answer: { status: number; reply: string; headers: IncomingHttpHeaders; error?: string | undefined }) =>
    console.log(JSON.stringify(answer))
  const sent = request(url, { method: body === undefined ? 'GET' : 'POST', agent: false }, (response) => {
    let reply = ''
    response.on('data', (chunk) => {
      reply += chunk.toString()
    })
    response.on('end', () => print({ status: response.statusCode ?? 0, reply, headers: response.headers }))
  })
  sent.on('error', (error: NodeJS.ErrnoException) => print({ status: 0, reply: '', headers: {}, error: error.code }))
  sent.end(body)
}

function dialTls(host: string, port: number, file: string): void {
  const pem = readFileSync(file, 'utf8')
  const socket = connectTls({
    host,
    port,
    key: pem,
    cert: pem,
    ALPNProtocols: ['outrigger/http1'],
    rejectUnauthorized: false,
  })
  let reply = ''
  socket.write('GET /tls HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n')
  socket.on('data', (chunk) => {
    reply += chunk.toString()
  })
  socket.on('error', () => {})
  socket.on('close', () =>
    console.log(JSON.stringify({ reply, error: (socket.errored as NodeJS.ErrnoException | null)?.code })),
  )
}

function serveUdp(port: number): void {
  const socket = createSocket('udp6')
  socket.on('message', (message, { address, port: from }) => {
    console.log(JSON.stringify({ from: address, received: message.toString() }))
    socket.send(`echo:${message.toString()}`, from, address)
  })
  socket.bind(port, '::', () => console.log('ready'))
}

function askUdp(host: string, port: number, text: string): void {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const late = setTimeout(() => answer(''), 2_000)
  const answer = (reply: string): void => {
    clearTimeout(late)
    console.log(JSON.stringify({ reply }))
    socket.close()
  }
  socket.on('message', (message) => answer(message.toString()))
  socket.send(text, port, host)
}

function awaitOk(url: string): void {
  const again = () => void setTimeout(() => awaitOk(url), 30)
  const sent = request(url, { agent: false }, (response) => {
    response.resume()
    response.on('end', () => (response.statusCode === 200 ? console.log('ok') : again()))
  })
  sent.on('error', again)
  sent.end()
}
