/** The attack list through running sidecars to five other parsers, one application each: nothing more arrives than is said. */
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { requestsOf, type Vector, vectors } from '../attack/vectors.ts'
import { Mesh } from '../support/mesh.ts'
import { converse } from '../support/raw.ts'
import { type ParserServer, parsers, startParsers } from './parsers/servers.ts'

/** Bytes as they are, in both directions. */
function pipeTo(port: number): (socket: net.Socket) => void {
  return (socket) => {
    const other = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    socket.pipe(other)
    other.pipe(socket)
    socket.on('error', () => other.destroy())
    other.on('error', () => socket.destroy())
    socket.on('close', () => other.destroy())
    other.on('close', () => socket.destroy())
  }
}

/** Final answers of the upstream, and those that another parser gave by itself; ours are neither. */
function answersOf(text: string): { readonly upstream: number; readonly refused: number } {
  let upstream = 0
  let refused = 0
  for (const answer of text.split(/(?=HTTP\/1\.1 \d{3} )/)) {
    if (Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1] ?? 0) < 200) continue
    if (/^x-seen:/m.test(answer)) upstream++
    else if (!/^x-outrigger-reason: (?!UPSTREAM)/m.test(answer)) refused++
  }
  return { upstream, refused }
}

describe('five other parsers behind sidecars', () => {
  const stack = new AsyncDisposableStack()
  let servers: readonly ParserServer[] = []
  let mesh: Mesh
  before(async () => {
    servers = await startParsers(stack, false)
    mesh = stack.use(await Mesh.start({ workloads: servers.map(({ name, port }) => ({ name, tcp: pipeTo(port) })) }))
  })
  after(() => stack.disposeAsync())

  for (const name of parsers) {
    it(`${name} sees as many requests as the sidecar lets in`, async () => {
      const { final } = servers.find((server) => server.name === name)!
      const { address } = mesh.get(name)
      const problems: string[] = []
      let served = 0
      // Traffic Server needs seconds for hundreds of fields of one name.
      for (const vector of vectors.filter(({ bytes }) => bytes.length < 5_000)) {
        final.arrived.clear()
        const before = final.bytes
        const { text, closed } = await converse(net.connect(8080, address), vector.bytes)
        const said = expected(vector)
        const seen = `${vector.name}: ${JSON.stringify(text.slice(0, 300))}, arrived ${JSON.stringify([...final.arrived.values()])}`
        if (!closed) problems.push(`the connection stays open: ${seen}`)
        if (said === 0 && final.bytes !== before) problems.push(`a refused one reaches it: ${seen}`)
        const { upstream, refused } = answersOf(text)
        // Who refuses may have sent it on before: Varnish does, where trailers come.
        const agree = upstream + refused === said && final.arrived.size >= upstream && final.arrived.size <= said
        if (!agree) problems.push(`${said} requests were sent: ${seen}`)
        problems.push(...final.problems.splice(0))
        served += final.arrived.size
      }
      assert.deepEqual(problems, [])
      assert.ok(served > 80, `${served} requests arrived`)
    })
  }
})

function expected(vector: Vector): number {
  return typeof (vector.sidecar ?? vector.verdict) === 'number' ? 0 : requestsOf(vector)
}
