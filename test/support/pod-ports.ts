/** Port-forward of the fake API server: WebSocket with Kubernetes' channels, to ports of this machine. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { FakeApi } from './fake-api.ts'

/** `NS/POD:PORT` -> where that is here. */
export type PodPorts = Readonly<Record<string, number>>

/** Lets port-forwards of the fake API lead to ports of this machine; to others "nobody listens". */
export function servePodPorts(api: FakeApi, ports: PodPorts): void {
  api.onUpgrade((request, socket) => {
    const url = new URL(request.url ?? '/', 'http://fake')
    const [, namespace, pod] = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/portforward$/.exec(url.pathname) ?? []
    if (namespace === undefined || pod === undefined) return void socket.end('HTTP/1.1 404 Not Found\r\n\r\n')
    const port = Number(url.searchParams.get('ports'))
    const here = ports[`${namespace}/${pod}:${port}`]
    if (here === -1) return void socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
    accept(request, socket)
    const head = Buffer.alloc(2)
    head.writeUInt16LE(port)
    // The first message of each channel is the number of the port.
    socket.write(frame(Buffer.concat([Buffer.from([0]), head])))
    socket.write(frame(Buffer.concat([Buffer.from([1]), head])))
    if (here === undefined) {
      const text = `error forwarding port ${port} to pod: dial tcp4 127.0.0.1:${port}: connect: connection refused`
      return void socket.write(frame(Buffer.concat([Buffer.from([1]), Buffer.from(text)])))
    }
    relay(socket, connect(here, '127.0.0.1'))
  })
}

/** A kubeconfig file for the fake API, as people have one. */
export function writeKubeconfig(folder: string, api: FakeApi, namespace = 'shop'): string {
  const path = join(folder, 'kubeconfig.yaml')
  writeFileSync(
    path,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'fake',
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'test', namespace } }],
      clusters: [{ name: 'fake', cluster: { server: api.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'test', user: { token: 'the-token-of-the-test' } }],
    }),
  )
  return path
}

function accept(request: IncomingMessage, socket: Socket): void {
  const key = String(request.headers['sec-websocket-key'])
  const answer = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n' +
      `sec-websocket-accept: ${answer}\r\nsec-websocket-protocol: v4.channel.k8s.io\r\n\r\n`,
  )
}

function relay(socket: Socket, target: Socket): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    for (let one = readFrame(rest); one !== undefined; one = readFrame(rest)) {
      rest = rest.subarray(one.bytes)
      if (one.opcode === 8) return void socket.end()
      if (one.opcode === 2 && one.payload[0] === 0) target.write(one.payload.subarray(1))
    }
  })
  target.on('data', (chunk: Buffer) => socket.write(frame(Buffer.concat([Buffer.from([0]), chunk]))))
  target.on('close', () => socket.end(frame(Buffer.alloc(0), 8)))
  socket.on('close', () => target.destroy())
  for (const one of [socket, target]) one.on('error', () => one.destroy())
}

/** A frame of a server: whole, without a mask (RFC 6455, section 5.2). */
function frame(payload: Buffer, opcode = 2): Buffer {
  const length = payload.length
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | opcode, length]), payload])
  const head = Buffer.alloc(10)
  head[0] = 0x80 | opcode
  if (length < 65_536) {
    head[1] = 126
    head.writeUInt16BE(length, 2)
    return Buffer.concat([head.subarray(0, 4), payload])
  }
  head[1] = 127
  head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, payload])
}

/** The first frame of a client, unmasked; undefined: not whole yet. */
function readFrame(bytes: Buffer): { opcode: number; payload: Buffer; bytes: number } | undefined {
  if (bytes.length < 6) return undefined
  const short = bytes[1]! & 0x7f
  const extra = short === 126 ? 2 : short === 127 ? 8 : 0
  const start = 2 + extra + 4
  if (bytes.length < start) return undefined
  const length = short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short
  if (bytes.length < start + length) return undefined
  const mask = bytes.subarray(start - 4, start)
  const payload = Buffer.from(bytes.subarray(start, start + length).map((byte, at) => byte ^ mask[at % 4]!))
  return { opcode: bytes[0]! & 0x0f, payload, bytes: start + length }
}
