/**
 * Mutants of the hostile answers through the engine, with llhttp, the parser of `node:http`, as an oracle: what a client gets whole
 * must be what llhttp reads there too, and a next request gets its own answer.
 */
import assert from 'node:assert/strict'
import net from 'node:net'
import { describe, it } from 'node:test'
import { answers } from '../attack/answers.ts'
import { get, host } from '../attack/vector.ts'
import { Hostile, sentinelBody } from '../support/hostile.ts'
import { type Relay, startRelay } from '../support/http1-relay.ts'
import { type Chance, chance, change, one } from '../support/mutate.ts'
import { converse } from '../support/raw.ts'
import { readResponses } from '../support/responses.ts'
import { readAnswerWithLlhttp } from './oracle.ts'

const seed = 20_261_127
const inputs = 2_000
const workers = 8

const seeds = answers.filter(({ bytes }) => bytes.length < 1_500)
const texts = seeds.map(({ bytes }) => bytes)
const legal = seeds.filter(({ verdict }) => typeof verdict === 'number')
/** Fields that the engine keeps for itself or writes anew. */
const ofEngine = new Set(['connection', 'content-length', 'transfer-encoding', 'keep-alive', 'content-type'])

const framingInTrailers = /\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*(?:content-length|transfer-encoding):/i

describe('mutants of hostile answers', () => {
  it(`are served as llhttp reads them, or not at all (seed ${seed})`, { timeout: 240_000 }, async () => {
    const pick = chance(seed)
    let made = 0
    let served = 0
    const problems: string[] = []
    await Promise.all(
      Array.from({ length: workers }, async () => {
        const hostile = new Hostile({ bytes: '' })
        const upstream = net.createServer({ allowHalfOpen: true }, hostile.accept)
        await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
        {
          await using relay = await startRelay((upstream.address() as net.AddressInfo).port)
          while (made++ < inputs && problems.length < 5) {
            const bytes = mutant(pick)
            const method = pick(6) === 0 ? 'HEAD' : 'GET'
            hostile.answer = { bytes, ends: pick(2) === 0, lingers: 50 }
            const said = await judge(relay, method, bytes)
            if (said === 'served') served++
            else if (said !== 'not served') problems.push(`${said}; ${method}, answer ${JSON.stringify(bytes)}`)
          }
        }
        for (const socket of hostile.sockets) socket.destroy()
        upstream.close()
      }),
    )
    assert.deepEqual(problems, [])
    assert.ok(served > inputs / 10, `only ${served} of ${inputs} were served`)
  })
})

function mutant(pick: Chance): string {
  let text = one(pick(3) > 0 ? legal : seeds, pick).bytes
  for (let changes = 1 + pick(pick(3) + 1); changes > 0; changes--) text = change(text, texts, pick)
  return text.slice(0, 8_000)
}

/** What is wrong with what the client sees, if anything. */
async function judge(relay: Relay, method: 'GET' | 'HEAD', bytes: string): Promise<string> {
  const connect = (): net.Socket => net.connect(relay.port, '127.0.0.1')
  const got = await converse(connect(), `${method} / HTTP/1.1\r\n${host}\r\n`)
  const seen = `client got ${JSON.stringify(got.text.slice(0, 400))}`
  if (!got.closed) return `the connection stays open: ${seen}`
  const { responses, rest } = readResponses(got.text, () => method === 'HEAD')
  if (responses.length > 1 || (responses.length === 1 && rest !== '')) return `more than one answer: ${seen}`
  const next = await converse(connect(), get(host, '/next'))
  if (!next.text.endsWith(`\r\n\r\n${sentinelBody}`)) return `the next request gets ${JSON.stringify(next.text)}`
  const [mine] = responses
  if (mine === undefined || mine.head.startsWith('HTTP/1.1 502 UPSTREAM_')) return 'not served'
  const theirs = readAnswerWithLlhttp(Buffer.from(bytes, 'latin1'), method === 'HEAD')
  // Framing in trailers is refused there and dropped here.
  if (theirs === undefined && framingInTrailers.test(bytes)) return 'not served'
  if (theirs === undefined) return `llhttp reads no whole answer: ${seen}`
  if (theirs.status !== mine.status) return `llhttp reads status ${theirs.status}: ${seen}`
  if (theirs.body !== mine.body) return `llhttp reads ${JSON.stringify(theirs.body)}: ${seen}`
  for (const line of mine.head.split('\r\n').slice(1, -1)) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase()
    if (!ofEngine.has(name) && !theirs.names.has(name)) return `llhttp sees no field ${name}: ${seen}`
  }
  return 'served'
}
