/**
 * Our header compression against nghttp2's, the one under `node:http2`, over real connections: what it writes we read alike, what we
 * write it reads alike, and of any bytes we take none that it refuses.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net, { type AddressInfo, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { HpackDecoder, HpackError } from '../../src/http2/hpack/decoder.ts'
import { HpackEncoder } from '../../src/http2/hpack/encoder.ts'
import {
  errorOf,
  type Frame,
  FrameReader,
  flags,
  frame,
  headers,
  ping,
  preface,
  readSettings,
  settings,
  types,
} from '../support/http2/frames.ts'
import { type Chance, chance, one } from '../support/mutate.ts'

const seed = 20_261_128
const exchanges = 1_500
/** Connections that get bytes until one side refuses them. */
const hostile = 1_500

const names = ['accept', 'cache-control', 'cookie', 'x-request-id', 'traceparent', 'x-a', 'x-b']
/** `node:http2` sends those once only. */
const singles = ['user-agent', 'authorization', 'etag', 'content-type']
const values = [
  '',
  '*/*',
  'grpc-go/1.76.0',
  'no-cache',
  'a=b; c=d',
  'x'.repeat(300),
  'Bearer eyJhbGciOi',
  'identity',
  '200',
]

/** Bytes that may stand in a value; nghttp2 and we take no blank at its ends. */
function anyValue(pick: Chance): string {
  if (pick(3) > 0) return one(values, pick)
  const bytes = Array.from({ length: pick(50) }, () => (pick(4) === 0 ? 0x80 + pick(0x80) : 0x21 + pick(0x5e)))
  return String.fromCharCode(...bytes)
}

function anyFields(pick: Chance): string[] {
  const fields: string[] = []
  for (const name of singles) if (pick(2) === 0) fields.push(name, anyValue(pick))
  for (let count = pick(10); count > 0; count--) {
    fields.push(pick(4) > 0 ? one(names, pick) : `x-${pick(200)}`, anyValue(pick))
  }
  // Larger than a frame now and then.
  if (pick(50) === 0) fields.push('x-large', '~'.repeat(20_000 + pick(3)))
  return fields
}

const requestOf = (pick: Chance): string[] => [
  ':method',
  one(['GET', 'POST', 'PUT'], pick),
  ':path',
  pick(2) === 0 ? '/' : `/${pick(30)}`,
  ':scheme',
  'http',
  ':authority',
  one(['a', 'orders.shop:50051'], pick),
  ...anyFields(pick),
]
const answerOf = (pick: Chance): string[] => [':status', one(['200', '404', '302', '599'], pick), ...anyFields(pick)]

/** One side of a connection that is ours: SETTINGS are answered, blocks wait to be taken. */
class Side {
  readonly encoder = new HpackEncoder(8_192)
  readonly decoder: HpackDecoder
  readonly socket: Socket
  readonly #blocks: [stream: number, fields: string[]][] = []
  #block: Buffer[] = []
  #wake: (() => void) | undefined = undefined
  #error: unknown = undefined

  /** `skip`: bytes that come before the first frame. */
  constructor(socket: Socket, tableBytes: number, skip: number) {
    this.socket = socket.setNoDelay(true).on('error', () => {})
    this.decoder = new HpackDecoder(tableBytes)
    socket.write(settings({ headerTableSize: tableBytes, maxHeaderListSize: 1_000_000 }))
    const reader = new FrameReader()
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(skip, chunk.length)
      skip -= skipped
      try {
        for (const got of reader.push(chunk.subarray(skipped))) this.#take(got)
      } catch (error) {
        this.#error = error
        this.#wake?.()
      }
    })
  }

  async next(): Promise<[stream: number, fields: string[]]> {
    while (this.#blocks.length === 0) {
      if (this.#error !== undefined) throw this.#error
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#blocks.shift()!
  }

  send(stream: number, fields: readonly string[]): void {
    let block = this.encoder.begin()
    for (let i = 0; i < fields.length; i += 2) block += this.encoder.field(fields[i]!, fields[i + 1]!)
    this.socket.write(inFrames(stream, block))
  }

  #take(got: Frame): void {
    if (got.type === types.goaway) throw new Error(`GOAWAY: ${errorOf(got)}`)
    if (got.type === types.settings) this.#setting(got)
    if (got.type !== types.headers && got.type !== types.continuation) return
    assert.equal(got.flags & flags.padded, 0)
    const hasPriority = got.type === types.headers && (got.flags & flags.priority) !== 0
    this.#block.push(got.payload.subarray(hasPriority ? 5 : 0))
    if ((got.flags & flags.endHeaders) === 0) return
    const block = Buffer.concat(this.#block)
    this.#block = []
    const fields: string[] = []
    this.decoder.decode(block, 0, block.length, fields, 1_000_000, 10_000)
    assert.equal(this.decoder.malformed, undefined)
    this.#blocks.push([got.stream, fields])
    this.#wake?.()
  }

  #setting(got: Frame): void {
    if ((got.flags & flags.ack) !== 0) {
      this.decoder.settingsAcknowledged()
      return
    }
    const { headerTableSize } = readSettings(got)
    if (headerTableSize !== undefined) this.encoder.setPeerTableMax(headerTableSize)
    this.socket.write(frame(types.settings, flags.ack, 0))
  }
}

/** HEADERS that end their stream, and CONTINUATION. */
function inFrames(stream: number, block: string): Buffer {
  const bytes = Buffer.from(block, 'latin1')
  const parts = [bytes.subarray(0, 16_384)]
  for (let at = 16_384; at < bytes.length; at += 16_384) parts.push(bytes.subarray(at, at + 16_384))
  return Buffer.concat(
    parts.map((part, i) => {
      const end = i === parts.length - 1 ? flags.endHeaders : 0
      return i === 0 ? headers(stream, part, flags.endStream | end) : frame(types.continuation, end, stream, part)
    }),
  )
}

/** Larger than this nghttp2's encoder uses no table, whatever is allowed. */
const tables = [4_096, 100, 0, 8_192]

describe('HPACK and nghttp2', () => {
  for (const table of tables) {
    it(`read each other alike, nghttp2 as client, tables of ${table} bytes (seed ${seed})`, {
      timeout: 120_000,
    }, async () => {
      const pick = chance(seed + table)
      const accepted = Promise.withResolvers<Side>()
      const server = net.createServer((socket) => accepted.resolve(new Side(socket, table, preface.length)))
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
        settings: { headerTableSize: table, maxHeaderListSize: 1_000_000 },
        maxHeaderListPairs: 1_000,
        maxSendHeaderBlockLength: 1_000_000,
      })
      const side = await accepted.promise
      for (let i = 0; i < exchanges; i++) {
        if (pick(100) === 0) session.settings({ headerTableSize: one([0, 64, 300, 4_096, 65_536], pick) })
        const asked = requestOf(pick)
        const stream = session.request(asked as never, { endStream: true })
        const [id, read] = await side.next()
        assert.deepEqual(read, asked)
        const said = answerOf(pick)
        const got = once(stream, 'response')
        side.send(id, said)
        const [, , raw] = (await got) as [unknown, unknown, string[]]
        assert.deepEqual(raw, said)
        stream.resume()
      }
      session.destroy()
      side.socket.destroy()
      server.close()
    })

    it(`read each other alike, nghttp2 as server, tables of ${table} bytes (seed ${seed})`, {
      timeout: 120_000,
    }, async () => {
      const pick = chance(seed - table)
      const server = http2.createServer({
        settings: { headerTableSize: table, maxHeaderListSize: 1_000_000 },
        maxHeaderListPairs: 1_000,
        maxSendHeaderBlockLength: 1_000_000,
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
      socket.write(preface)
      const side = new Side(socket, table, 0)
      for (let i = 0; i < exchanges; i++) {
        const asked = requestOf(pick)
        const got = once(server, 'stream')
        side.send(i * 2 + 1, asked)
        const [stream, , , raw] = (await got) as [http2.ServerHttp2Stream, unknown, number, string[]]
        assert.deepEqual(raw, asked)
        const said = answerOf(pick)
        stream.respond(said as never, { endStream: true, sendDate: false } as never)
        assert.deepEqual((await side.next())[1], said)
      }
      socket.destroy()
      server.close()
    })
  }

  it('know what may never be indexed', async () => {
    const accepted = Promise.withResolvers<Side>()
    const server = net.createServer((socket) => accepted.resolve(new Side(socket, 4_096, preface.length)))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const side = await accepted.promise
    session
      .request({ 'x-secret': 'a', 'x-open': 'b', [http2.sensitiveHeaders]: ['x-secret'] }, { endStream: true })
      .on('error', () => {})
    await side.next()
    assert.deepEqual(side.decoder.neverIndexed, new Set(['x-secret']))
    session.destroy()
    side.socket.destroy()
    server.close()
  })

  it(`refuse the same: what nghttp2 does not take we do not (seed ${seed})`, { timeout: 240_000 }, async () => {
    const pick = chance(seed)
    const server = http2.createServer({ settings: { maxHeaderListSize: 1_000_000 }, maxHeaderListPairs: 1_000 })
    server.on('sessionError', () => {})
    server.on('stream', (stream: http2.ServerHttp2Stream, _headers, _flags, raw) => {
      stream.on('error', () => {})
      reads.push(raw)
      stream.respond({ ':status': 204 }, { endStream: true })
    })
    let reads: string[][] = []
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const tally = { blocks: 0, read: 0, refused: 0, onlyByUs: new Map<string, number>() }
    for (let i = 0; i < hostile; i++) {
      const talk = new Talk(port)
      const decoder = new HpackDecoder()
      const encoder = new HpackEncoder()
      for (let stream = 1; stream < 20; stream += 2) {
        const block = mutant(pick, encoder)
        reads = []
        const theirs = await talk.refuses(stream, block)
        tally.blocks++
        const fields: string[] = []
        const bytes = Buffer.from(block, 'latin1')
        let ours: string | undefined
        try {
          decoder.decode(bytes, 0, bytes.length, fields, 1_000_000, 10_000)
        } catch (error) {
          assert.ok(error instanceof HpackError)
          ours = error.message
        }
        const input = `block ${bytes.toString('hex')} of connection ${i}`
        if (theirs) assert.ok(ours !== undefined, `nghttp2 refuses ${input}, we read ${JSON.stringify(fields)}`)
        if (ours !== undefined) {
          if (theirs) tally.refused++
          else tally.onlyByUs.set(ours, (tally.onlyByUs.get(ours) ?? 0) + 1)
          break
        }
        if (reads.length > 0) {
          tally.read++
          if (decoder.malformed === undefined) assert.deepEqual(fields, reads[0], input)
        }
      }
      talk.close()
    }
    server.close()
    // What is stricter here, and nothing else.
    assert.deepEqual(
      [...tally.onlyByUs.keys()].filter((why) => why !== 'integer too long'),
      [],
      JSON.stringify([...tally.onlyByUs]),
    )
    assert.ok(tally.refused > hostile / 3 && tally.read > hostile / 3, JSON.stringify(tally))
  })
})

/** A connection to nghttp2 that is asked after each block whether it stands. */
class Talk {
  readonly #socket: Socket
  #answer: (refuses: boolean) => void = () => {}

  constructor(port: number) {
    this.#socket = net.connect(port, '127.0.0.1').setNoDelay(true)
    this.#socket.on('error', () => {}).on('close', () => this.#answer(true))
    this.#socket.write(preface)
    this.#socket.write(settings())
    const reader = new FrameReader()
    this.#socket.on('data', (chunk: Buffer) => {
      for (const got of reader.push(chunk)) {
        if (got.type === types.ping && (got.flags & flags.ack) !== 0) this.#answer(false)
        if (got.type === types.goaway) this.#answer(errorOf(got) === 'COMPRESSION_ERROR')
      }
    })
  }

  refuses(stream: number, block: string): Promise<boolean> {
    return new Promise((resolve) => {
      this.#answer = resolve
      this.#socket.write(Buffer.concat([inFrames(stream, block), ping()]))
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** A request as a block, often with some bytes changed, taken out or put in. */
function mutant(pick: Chance, encoder: HpackEncoder): string {
  let block = encoder.begin()
  const fields = requestOf(pick).slice(0, 20)
  if (pick(10) === 0) encoder.setPeerTableMax(one([0, 100, 4_096], pick))
  for (let i = 0; i < fields.length; i += 2) block += encoder.field(fields[i]!, fields[i + 1]!)
  for (let changes = pick(3); changes > 0; changes--) {
    const at = pick(block.length + 1)
    const byte = String.fromCharCode(
      pick(2) === 0 ? pick(256) : one([0x00, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xbe, 0xff], pick),
    )
    const kind = pick(4)
    if (kind === 0) block = block.slice(0, at) + byte + block.slice(at + 1)
    else if (kind === 1) block = block.slice(0, at) + byte + block.slice(at)
    else if (kind === 2) block = block.slice(0, at) + block.slice(at + 1 + pick(3))
    else block = `${one(['\x20', '\x3f\xe1\x1f', '\x3f\x45', '\x3f\xe2\x1f'], pick)}${block}`
  }
  return block
}
