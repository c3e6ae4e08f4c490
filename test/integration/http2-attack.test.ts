/** Rows 21 to 23: hostile requests of HTTP/2 against running sidecars, before applications of HTTP/2 and of HTTP/1.1. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Http2Case, http2Cases } from '../attack/http2-requests.ts'
import { RecordingApp } from '../support/attack-lanes.ts'
import { Http2App } from '../support/http2/app.ts'
import { flags, headers } from '../support/http2/frames.ts'
import { block, type Field, indexed, indexedLiteral } from '../support/http2/hpack.ts'
import { http2LaneNames, http2Lanes } from '../support/http2/lanes.ts'
import { type RawHttp2, requestFields } from '../support/http2/raw.ts'
import { Mesh } from '../support/mesh.ts'

type AppName = 'app' | 'old'

/** What an application got, whichever it speaks. */
interface Arrived {
  /** Requests that are there to their end. */
  readonly whole: number
  /** Requests of which anything is there. */
  readonly begun: number
  /** All of it, for what must not be in it. */
  readonly text: string
  /** Whom the last one was for. */
  readonly hosts: readonly string[]
}

describe('hostile requests of HTTP/2', () => {
  let app: Http2App
  const old = new RecordingApp()
  let mesh: Mesh
  /** They end after the mesh: a sidecar that closes needs no haste of theirs. */
  const clients: RawHttp2[] = []
  before(async () => {
    app = await Http2App.start()
    mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        { name: 'app', runsAt: app.port, portName: 'http2' },
        { name: 'old', tcp: old.serve },
      ],
    })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    for (const client of clients) client[Symbol.dispose]()
    await app?.[Symbol.asyncDispose]()
  })

  async function open(at: number, name: AppName): Promise<RawHttp2> {
    const client = await http2Lanes(mesh)[at]!.open(name)
    clients.push(client)
    return client
  }

  function take(name: AppName): Arrived {
    if (name === 'app') {
      const seen = app.take()
      const hosts = seen.at(-1)?.raw.filter((_, i, raw) => [':authority', 'host'].includes(raw[i - 1] ?? '')) ?? []
      const text = seen.map(({ raw, body, trailers }) => JSON.stringify([raw, body, trailers])).join('\n')
      return { whole: seen.filter(({ whole }) => whole).length, begun: seen.length, text, hosts }
    }
    const text = old.take()
    const heads = [...text.matchAll(/(?:GET|POST) \S+ HTTP\/1\.1\r\n/g)]
    const hosts = [...text.slice(heads.at(-1)?.index).matchAll(/^host: *(.*)\r$/gim)].map((match) => match[1]!)
    return { whole: text.split('\r\n\r\n').length - 1, begun: heads.length, text, hosts }
  }

  /** What is wrong with how it went, in words. */
  async function attempt(client: RawHttp2, name: AppName, hostile: Http2Case): Promise<string[]> {
    const { what, body, refused, begins } = hostile
    const fields = hostile.fields.map(([field, value]): Field => [field, value.replaceAll('app:8080', `${name}:8080`)])
    const stream = client.request(fields, body === undefined)
    if (body !== undefined) client.send(body(stream))
    const { over, status, reset } = await client.whole(stream)
    const problems: string[] = []
    const found = `${what}: status ${status}, reset ${reset}, GOAWAY ${client.goaway?.error}`
    if (!over) problems.push(`${found}: the stream is still open`)
    const arrived = take(name)
    if (refused === undefined) {
      if (status !== 200 || arrived.whole !== 1) problems.push(`${found}: not served; arrived ${arrived.text}`)
      if (arrived.hosts.join() !== `${name}:8080`) problems.push(`${what}: for ${arrived.hosts.join()}`)
      return problems
    }
    const isRefused = refused.some((way) => way === status || way === reset || way === client.goaway?.error)
    if (!isRefused) problems.push(`${found}: expected ${refused.join(' or ')}`)
    if (/smuggled/.test(arrived.text)) problems.push(`${what}: smuggled: ${arrived.text}`)
    if (arrived.begun > (begins ? 1 : 0)) problems.push(`${what}: the application got ${arrived.text.slice(0, 500)}`)
    if (begins && name === 'app' && arrived.whole > 0) problems.push(`${what}: whole at the application`)
    return problems
  }

  /** The connection goes on: a refusal is of one stream. Only those of sizes may end it, with their reason. */
  async function probe(client: RawHttp2, name: AppName, { what, row }: Http2Case): Promise<string[]> {
    if (row === 23 && client.goaway?.error === 'ENHANCE_YOUR_CALM') return []
    const stream = client.request(requestFields({ authority: `${name}:8080`, path: '/probe' }))
    const { status, body } = await client.whole(stream)
    const { whole, text } = take(name)
    if (status !== 200 || body !== 'ok') return [`behind '${what}': status ${status}, GOAWAY ${client.goaway?.error}`]
    return whole === 1 && text.includes('/probe') ? [] : [`behind '${what}' the application got ${text.slice(0, 500)}`]
  }

  for (const [at, laneName] of http2LaneNames.entries()) {
    for (const [name, speaks] of [
      ['app', 'HTTP/2'],
      ['old', 'HTTP/1.1'],
    ] as const) {
      it(`rows 21 to 23, ${laneName}, to ${speaks}: refused on their streams, and nothing arrives`, async () => {
        const problems: string[] = []
        let client = await open(at, name)
        for (const hostile of http2Cases) {
          problems.push(...(await attempt(client, name, hostile)), ...(await probe(client, name, hostile)))
          if (client.ended === undefined && client.goaway === undefined) continue
          client = await open(at, name)
        }
        assert.deepEqual(problems, [])
      })
    }

    it(`row 23, ${laneName}: a field of 4,000 bytes named four thousand times is refused, and costs nothing`, async () => {
      const client = await open(at, 'app')
      const first = client.nextStream()
      client.send(headers(first, Buffer.concat([block(requestFields()), indexedLiteral('x-bomb', 'b'.repeat(4_000))])))
      assert.equal((await client.whole(first)).status, 200, 'once it may pass')
      take('app')
      const second = client.nextStream()
      // 62: the newest of the dynamic table.
      const bomb = Buffer.concat([block(requestFields()), ...Array.from({ length: 4_000 }, () => indexed(62))])
      const before = process.memoryUsage().rss
      client.send(headers(second, bomb, flags.endHeaders | flags.endStream))
      const { status, reset } = await client.whole(second)
      const how = status === 0 ? (reset ?? client.goaway?.error) : status
      assert.ok(how === 431 || how === 'ENHANCE_YOUR_CALM', `${how}`)
      assert.equal(take('app').begun, 0)
      assert.ok(process.memoryUsage().rss - before < 16 * 1_048_576, 'memory')
    })
  }
})
