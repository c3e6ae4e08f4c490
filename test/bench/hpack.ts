/**
 * What header blocks cost, in nanoseconds of CPU per block, beside the bytes that they have on the wire.
 * Run: src/cli/outrigger-node test/bench/hpack.ts
 */
import { HpackDecoder } from '../../src/http2/hpack/decoder.ts'
import { HpackEncoder } from '../../src/http2/hpack/encoder.ts'
import { huffmanEncode } from '../../src/http2/hpack/huffman.ts'

const blocks = 200_000
const rounds = 5

const hex = (digits: number, number: number): string => number.toString(16).padStart(digits, '0')

/** Of lines `name value`. */
const list = (...lines: readonly string[]): string[] => lines.flatMap((line) => line.split(/ (.*)/).slice(0, 2))

/** As grpc-go sends it, with what a sidecar adds. */
const grpc = list(
  ':method POST',
  ':scheme http',
  ':path /shop.v1.Orders/Get',
  ':authority orders.shop:50051',
  'content-type application/grpc',
  'user-agent grpc-go/1.76.0',
  'te trailers',
  'grpc-accept-encoding gzip,deflate',
  'x-outrigger-attempt 1',
)
const http = list(
  ':method GET',
  ':scheme https',
  ':authority shop.example.com',
  'accept */*',
  'accept-encoding gzip, deflate, br',
  'user-agent Mozilla/5.0 (X11; Linux x86_64)',
)
const answer = list(':status 200', 'content-type application/grpc', 'grpc-encoding identity')
const trailers = list('grpc-status 0', 'grpc-message ')

/** Heads by number, each a list of names and values. */
const heads: readonly (readonly [what: string, head: (i: number) => readonly string[]])[] = [
  ['gRPC request, 9 fields that repeat', () => grpc],
  ['+ grpc-timeout of 7 values', (i) => [...grpc, 'grpc-timeout', `${990 + (i % 7)}m`]],
  ['+ traceparent', (i) => [...grpc, 'traceparent', `00-${hex(32, i * 7919)}-${hex(16, i * 104729)}-01`]],
  [
    'HTTP request, path and cookie vary',
    (i) =>
      http.concat(list(`:path /api/orders/${i}?page=2`, `cookie session=${hex(32, i)}`, `x-request-id ${hex(32, i)}`)),
  ],
  ['gRPC answer', () => answer],
  ['gRPC trailers', () => trailers],
]

/** Values as a peer writes them who knows no table of ours: Huffman, not indexed. */
function huffmanBlock(head: readonly string[]): string {
  let text = ''
  for (let i = 0; i < head.length; i += 2) {
    const [name, value] = [huffmanEncode(head[i]!), huffmanEncode(head[i + 1]!)]
    text += `\0${String.fromCharCode(0x80 | name.length)}${name}${String.fromCharCode(0x80 | value.length)}${value}`
  }
  return text
}

function write(encoder: HpackEncoder, head: readonly string[]): string {
  let text = encoder.begin()
  for (let i = 0; i < head.length; i += 2) text += encoder.field(head[i]!, head[i + 1]!)
  return text
}

/** Nanoseconds for one of `blocks`. */
function time(work: (i: number) => void): number {
  const before = process.cpuUsage()
  for (let i = 0; i < blocks; i++) work(i)
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1000) / blocks
}

const middle = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

function measure(what: string, head: (i: number) => readonly string[]): void {
  const list = Array.from({ length: 1024 }, (_, i) => head(i))
  const warm = new HpackEncoder()
  write(warm, list[0]!)
  write(warm, list[1]!)
  const coded: Buffer[] = []
  const decoded = new HpackDecoder()
  const feed = new HpackEncoder()
  for (const [i, fields] of list.entries()) {
    const block = Buffer.from(write(feed, fields), 'latin1')
    if (i < 512) decoded.decode(block, 0, block.length, [], 65_536, 1_000)
    else coded.push(block)
  }
  const huffman = list.map((fields) => Buffer.from(huffmanBlock(fields), 'latin1'))
  const times: [number[], number[], number[]] = [[], [], []]
  let sink = 0
  // With what a block that leaves costs to become bytes.
  const out = Buffer.allocUnsafe(16 * 1024)
  for (let round = 0; round < rounds; round++) {
    times[0].push(
      time((i) => {
        sink += out.write(write(warm, list[i & 1023]!), 0, 'latin1')
      }),
    )
    times[1].push(
      time((i) => {
        const block = coded[i & 511]!
        const fields: string[] = []
        sink += decoded.decode(block, 0, block.length, fields, 65_536, 1_000)
      }),
    )
    times[2].push(
      time((i) => {
        const block = huffman[i & 1023]!
        const fields: string[] = []
        sink += decoded.decode(block, 0, block.length, fields, 65_536, 1_000)
      }),
    )
  }
  const [encode, decode, plain] = times.map((values) => middle(values).toFixed(0).padStart(6))
  const bytes = [coded[100]!.length, huffman[100]!.length].map((length) => String(length).padStart(4))
  console.log(
    `${what.padEnd(36)} encode ${encode} ns, decode ${decode} ns, ${bytes[0]} bytes; Huffman: decode ${plain} ns, ${bytes[1]} bytes`,
  )
  if (sink < 0) throw new Error('nothing was done')
}

for (const [what, head] of heads) measure(what, head)
