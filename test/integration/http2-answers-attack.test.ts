/** Answers of a hostile upstream of HTTP/2 (row 26), through one sidecar and through two, to clients of HTTP/2 and of HTTP/1.1. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Http2Answer, http2Answers } from '../attack/http2-answers.ts'
import { http2Frames } from '../support/http2/app.ts'
import { data, flags, headers, settings } from '../support/http2/frames.ts'
import { block } from '../support/http2/hpack.ts'
import { http2LaneNames, http2Lanes } from '../support/http2/lanes.ts'
import { type RawHttp2, requestFields } from '../support/http2/raw.ts'
import { Mesh } from '../support/mesh.ts'
import { sendRaw, statuses } from '../support/raw.ts'

describe('hostile answers of HTTP/2', () => {
  let mesh: Mesh
  let answer: Http2Answer | undefined
  const peers = new Set<RawHttp2>()
  /** They end after the mesh: a sidecar that closes needs no haste of theirs. */
  const clients: RawHttp2[] = []
  /** The first request gets the hostile answer, whatever comes behind it a good one. */
  const hostile = http2Frames(
    (peer, stream) => {
      const now = answer
      answer = undefined
      if (now === undefined) {
        peer.send(headers(stream, block([[':status', '200']]), flags.endHeaders), data(stream, 'next', true))
        return
      }
      peer.send(now.bytes(stream))
      if (now.ends) peer.socket.end()
    },
    (peer) => {
      peers.add(peer)
      peer.send(settings())
    },
  )
  before(async () => {
    mesh = await Mesh.start({ workloads: [{ name: 'client' }, { name: 'app', tcp: hostile, portName: 'http2' }] })
  })
  after(async () => {
    await mesh?.[Symbol.asyncDispose]()
    for (const client of clients) client[Symbol.dispose]()
  })

  /** What is wrong with how it went, in words. */
  function judge({ what, section, verdict }: Http2Answer, got: Got): string[] {
    const { status, text, isWhole } = got
    const found = `${what} (${section}): status ${status}, ${isWhole ? 'whole' : 'cut'}, ${JSON.stringify(text.slice(0, 300))}`
    const problems: string[] = []
    if (/secret/.test(text)) problems.push(`${found}: it may not be seen`)
    const isRefused = status >= 502 && status <= 503 && isWhole && /x-outrigger-reason/.test(text)
    if (verdict === 'refused' && !isRefused) problems.push(`${found}: expected a refusal`)
    if (verdict === 'cut' && isWhole && !isRefused) problems.push(`${found}: it looks whole`)
    if (verdict === 'again' && (status !== 200 || !text.includes('next')))
      problems.push(`${found}: expected a second try`)
    if (typeof verdict === 'number' && (status !== verdict || !isWhole)) problems.push(`${found}: expected ${verdict}`)
    return problems
  }

  interface Got {
    readonly status: number
    readonly text: string
    readonly isWhole: boolean
  }

  async function ask(client: RawHttp2): Promise<Got> {
    // What may not be sent twice, unless it is sure that nothing was done for it.
    const stream = client.request(requestFields({ method: 'POST' }))
    const { status, head, body, trailers, over, reset } = await client.whole(stream)
    return {
      status,
      text: JSON.stringify([head, body, trailers]),
      isWhole: over && reset === undefined && client.ended === undefined,
    }
  }

  for (const [at, name] of http2LaneNames.entries()) {
    it(`rows 14, 21, 23 and 26, ${name}, to HTTP/2: the client gets nothing of it, and its next answer`, async () => {
      const problems: string[] = []
      const client = await http2Lanes(mesh)[at]!.open('app')
      clients.push(client)
      for (const hostileAnswer of http2Answers) {
        answer = hostileAnswer
        problems.push(...judge(hostileAnswer, await ask(client)))
        const next = await ask(client)
        if (next.status !== 200 || !next.text.includes('next'))
          problems.push(`behind '${hostileAnswer.what}': ${next.status} ${next.text}, GOAWAY ${client.goaway?.error}`)
        for (const peer of peers) if (peer.socket.destroyed || peer.ended !== undefined) peers.delete(peer)
      }
      assert.deepEqual(problems, [])
      assert.ok(peers.size < 10, `${peers.size} connections to the upstream are open`)
    })
  }

  it('to HTTP/1.1: the same', async () => {
    const problems: string[] = []
    for (const hostileAnswer of http2Answers) {
      answer = hostileAnswer
      const post = 'POST / HTTP/1.1\r\nHost: app:8080\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
      const { text: all, closed } = await sendRaw(mesh.get('client').outbound, post, /(?!)/)
      const text = all.slice(/HTTP\/1\.1 [2-5]/.exec(all)?.index ?? all.length)
      const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1]
      const body = text.slice(text.indexOf('\r\n\r\n') + 4)
      const isWhole = closed && (length === undefined ? body.endsWith('0\r\n\r\n') : body.length === Number(length))
      problems.push(...judge(hostileAnswer, { status: statuses(text)[0] ?? 0, text, isWhole }))
    }
    assert.deepEqual(problems, [])
  })
})
