import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  flags,
  frame,
  goaway,
  head,
  numbers,
  ping,
  reset,
  settings,
  types,
  windowUpdate,
} from '../../test/support/http2/frames.ts'
import { type FrameHandler, FrameReader } from './frame-reader.ts'
import { ConnectionError, errorCode, errorName } from './frames.ts'
import { http2Limits } from './limits.ts'

const bytesOf = (...values: number[]): Buffer => Buffer.from(values)

/** What the reader tells, as text; the parts of DATA put together. */
class Told implements FrameHandler {
  readonly lines: string[] = []
  #data = ''

  onData(stream: number, counted: number): void {
    this.lines.push(`DATA ${stream} counts ${counted}`)
    this.#data = ''
  }
  onDataBytes(chunk: Buffer, start: number, end: number): void {
    assert.ok(end > start)
    this.#data += chunk.toString('latin1', start, end)
  }
  onDataEnd(endStream: boolean): void {
    this.lines.push(`'${this.#data}'${endStream ? ' end' : ''}`)
  }
  onHeaders(stream: number, endStream: boolean, dependsOn: number, block: Buffer, start: number, end: number): void {
    this.lines.push(`HEADERS ${stream} ${endStream} ${dependsOn} '${block.toString('latin1', start, end)}'`)
  }
  onPriority(stream: number, dependsOn: number): void {
    this.lines.push(`PRIORITY ${stream} ${dependsOn}`)
  }
  onReset(stream: number, code: number): void {
    this.lines.push(`RST ${stream} ${code}`)
  }
  onSettings(payload: Buffer, start: number, end: number): void {
    this.lines.push(`SETTINGS ${payload.toString('hex', start, end)}`)
  }
  onSettingsAck(): void {
    this.lines.push('SETTINGS ACK')
  }
  onPing(ack: boolean, payload: string): void {
    this.lines.push(`PING ${ack} ${payload}`)
  }
  onGoaway(lastStream: number, code: number, debug: string): void {
    this.lines.push(`GOAWAY ${lastStream} ${code} '${debug}'`)
  }
  onWindowUpdate(stream: number, increment: number): void {
    this.lines.push(`WINDOW ${stream} ${increment}`)
  }
  onUnknown(): void {
    this.lines.push('unknown')
  }
}

function read(...pieces: readonly Buffer[]): string[] {
  const told = new Told()
  const reader = new FrameReader(told, http2Limits, 16_384)
  for (const piece of pieces) {
    // As a read does: the buffer is used again.
    const shared = Buffer.from(piece)
    reader.push(shared)
    shared.fill(0xee)
  }
  return told.lines
}

/** After SETTINGS. */
const after = (...pieces: readonly Buffer[]): string[] => read(settings(), ...pieces).slice(1)

function refusal(...pieces: readonly Buffer[]): string {
  try {
    read(...pieces)
  } catch (error) {
    assert.ok(error instanceof ConnectionError, String(error))
    return errorName(error.code)
  }
  return 'none'
}

const opaque = Buffer.from('12345678')
const padded = (type: number, flag: number, padding: number, body: Buffer): Buffer =>
  frame(type, flags.padded | flag, 5, Buffer.concat([bytesOf(padding), body, Buffer.alloc(padding, 0xaa)]))

/** One of each, and what is told of it. */
const cases: readonly (readonly [string, Buffer, readonly string[]])[] = [
  ['DATA', frame(types.data, 0, 5, Buffer.from('some bytes')), ['DATA 5 counts 10', "'some bytes'"]],
  ['DATA that ends', frame(types.data, flags.endStream, 5, Buffer.from('x')), ['DATA 5 counts 1', "'x' end"]],
  ['DATA of nothing', frame(types.data, flags.endStream, 5), ['DATA 5 counts 0', "'' end"]],
  ['padded DATA', padded(types.data, 1, 7, Buffer.from('abc')), ['DATA 5 counts 11', "'abc' end"]],
  ['DATA with a pad length of 0', padded(types.data, 0, 0, Buffer.from('abc')), ['DATA 5 counts 4', "'abc'"]],
  ['DATA of padding alone', padded(types.data, 1, 255, Buffer.alloc(0)), ['DATA 5 counts 256', "'' end"]],
  ['HEADERS', frame(types.headers, 5, 5, Buffer.from('block')), ["HEADERS 5 true -1 'block'"]],
  ['HEADERS of nothing', frame(types.headers, 4, 5), ["HEADERS 5 false -1 ''"]],
  ['padded HEADERS', padded(types.headers, 4, 3, Buffer.from('block')), ["HEADERS 5 false -1 'block'"]],
  [
    'HEADERS with a priority, exclusive',
    frame(types.headers, 0x24, 5, Buffer.concat([numbers(0x8000_0003), bytesOf(9), Buffer.from('block')])),
    ["HEADERS 5 false 3 'block'"],
  ],
  [
    'padded HEADERS with a priority',
    padded(types.headers, 0x24, 2, Buffer.concat([numbers(3), bytesOf(9), Buffer.from('block')])),
    ["HEADERS 5 false 3 'block'"],
  ],
  [
    'HEADERS in three parts, the first padded',
    Buffer.concat([
      padded(types.headers, 1, 2, Buffer.from('one ')),
      frame(types.continuation, 0, 5, Buffer.from('two ')),
      frame(types.continuation, 4, 5, Buffer.from('three')),
    ]),
    ["HEADERS 5 true -1 'one two three'"],
  ],
  ['PRIORITY', frame(types.priority, 0, 5, Buffer.concat([numbers(0x8000_0007), bytesOf(1)])), ['PRIORITY 5 7']],
  ['RST_STREAM', reset(5, 'CANCEL'), ['RST 5 8']],
  ['SETTINGS', settings({ maxFrameSize: 16_384 }), ['SETTINGS 000500004000']],
  ['an acknowledgement', frame(types.settings, flags.ack, 0), ['SETTINGS ACK']],
  ['PING', ping(false, opaque), ['PING false 12345678']],
  ['the answer to PING', ping(true, opaque), ['PING true 12345678']],
  ['GOAWAY', goaway(7, 'NO_ERROR'), ["GOAWAY 7 0 ''"]],
  [
    'GOAWAY with a reason',
    frame(types.goaway, 0, 0, Buffer.concat([numbers(7, 2), opaque])),
    ["GOAWAY 7 2 '12345678'"],
  ],
  ['WINDOW_UPDATE', windowUpdate(5, 0x7fff_ffff), ['WINDOW 5 2147483647']],
  ['WINDOW_UPDATE with its reserved bit', frame(types.window, 0, 0, numbers(0x8000_0001)), ['WINDOW 0 1']],
  ['a type that nobody knows', frame(0x21, 0xff, 0x7fff_ffff, opaque), ['unknown']],
  ['flags that nobody knows', frame(types.ping, 0xfe, 0, opaque), ['PING false 12345678']],
]

describe('frames', () => {
  it('are told of', () => {
    for (const [what, bytes, lines] of cases) assert.deepEqual(after(bytes), lines, what)
  })

  it('in one piece, and cut at every byte', () => {
    const all = Buffer.concat([settings(), ...cases.map(([, bytes]) => bytes), ping(false, opaque)])
    const whole = read(all)
    assert.equal(whole.length, 2 + cases.reduce((sum, [, , lines]) => sum + lines.length, 0))
    for (let cut = 1; cut < all.length; cut++)
      assert.deepEqual(read(all.subarray(0, cut), all.subarray(cut)), whole, `cut at ${cut}`)
    assert.deepEqual(read(...Array.from(all, (byte) => bytesOf(byte))), whole, 'byte by byte')
    for (const size of [2, 3, 7, 9, 10])
      assert.deepEqual(
        read(...Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.subarray(i * size, (i + 1) * size))),
        whole,
        `${size} bytes at a time`,
      )
  })

  it('of the largest size, and not a byte more', () => {
    assert.deepEqual(after(frame(types.data, 0, 1, Buffer.alloc(16_384, 'x')))[0], 'DATA 1 counts 16384')
    for (const type of [...Object.values(types), 0x21])
      assert.equal(refusal(settings(), frame(type, 4, 1, Buffer.alloc(16_385))), 'FRAME_SIZE_ERROR', `type ${type}`)
    // It is refused when its head is here: nothing of it is kept.
    assert.equal(
      refusal(settings(), frame(types.headers, 4, 1, Buffer.alloc(16_385)).subarray(0, 9)),
      'FRAME_SIZE_ERROR',
    )
  })

  it('nothing is told after stop, not even of what is being read', () => {
    const told = new Told()
    const reader = new FrameReader(told, http2Limits, 16_384)
    told.onPing = () => reader.stop()
    reader.push(Buffer.concat([settings(), ping(), windowUpdate(0, 1), frame(types.data, 0, 1, opaque)]))
    reader.push(windowUpdate(0, 1))
    assert.deepEqual(told.lines, ['SETTINGS '])
  })
})

describe('frames that are none', () => {
  const refused: readonly (readonly [string, string, ...Buffer[]])[] = [
    ['SETTINGS do not come first', 'PROTOCOL_ERROR', ping()],
    ['an acknowledgement comes first', 'PROTOCOL_ERROR', frame(types.settings, flags.ack, 0)],
    ...(['data', 'headers', 'priority', 'reset', 'continuation'] as const).map(
      (type) => [`${type} on stream 0`, 'PROTOCOL_ERROR', settings(), frame(types[type], 4, 0, opaque)] as const,
    ),
    ...(['settings', 'ping', 'goaway'] as const).map(
      (type) => [`${type} on a stream`, 'PROTOCOL_ERROR', settings(), frame(types[type], 0, 1, opaque)] as const,
    ),
    ['PUSH_PROMISE', 'PROTOCOL_ERROR', settings(), frame(types.push, 4, 1, numbers(2))],
    ['CONTINUATION of nothing', 'PROTOCOL_ERROR', settings(), frame(types.continuation, 4, 1)],
    [
      'CONTINUATION behind the end of its block',
      'PROTOCOL_ERROR',
      settings(),
      frame(types.headers, 4, 1),
      frame(types.continuation, 4, 1),
    ],
    ['padded DATA without a pad length', 'FRAME_SIZE_ERROR', settings(), frame(types.data, flags.padded, 1)],
    ['padded HEADERS without', 'FRAME_SIZE_ERROR', settings(), frame(types.headers, flags.padded | 4, 1)],
    [
      'DATA: more padding than frame',
      'PROTOCOL_ERROR',
      settings(),
      frame(types.data, flags.padded, 1, bytesOf(3, 0, 0)),
    ],
    ['HEADERS: the same', 'PROTOCOL_ERROR', settings(), frame(types.headers, flags.padded | 4, 1, bytesOf(3, 0, 0))],
    [
      'HEADERS: padding in the priority fields',
      'PROTOCOL_ERROR',
      settings(),
      frame(types.headers, flags.padded | 0x24, 1, bytesOf(1, 0, 0, 0, 0, 9)),
    ],
    ['HEADERS: half a priority', 'FRAME_SIZE_ERROR', settings(), frame(types.headers, 0x24, 1, numbers(0))],
    ['SETTINGS in pieces', 'FRAME_SIZE_ERROR', settings(), frame(types.settings, 0, 0, opaque)],
    [
      'an acknowledgement with a payload',
      'FRAME_SIZE_ERROR',
      settings(),
      frame(types.settings, flags.ack, 0, Buffer.alloc(6)),
    ],
    ['GOAWAY without its fields', 'FRAME_SIZE_ERROR', settings(), frame(types.goaway, 0, 0, Buffer.alloc(7))],
    ...[
      ['priority', 5],
      ['reset', 4],
      ['window', 4],
    ].flatMap(([name, size]) =>
      [Number(size) - 1, Number(size) + 1, 0].map(
        (bytes) =>
          [
            `${name} of ${bytes} bytes`,
            'FRAME_SIZE_ERROR',
            settings(),
            frame(types[name as 'reset'], 0, 1, Buffer.alloc(bytes)),
          ] as const,
      ),
    ),
    ...[0, 7, 9].map(
      (bytes) =>
        [
          `PING of ${bytes} bytes`,
          'FRAME_SIZE_ERROR',
          settings(),
          frame(types.ping, 0, 0, Buffer.alloc(bytes)),
        ] as const,
    ),
  ]
  for (const [what, error, ...bytes] of refused) {
    it(`${error}: ${what}`, () => {
      assert.equal(refusal(...bytes), error)
      // Nor is it let in when it comes byte by byte.
      assert.equal(refusal(...Array.from(Buffer.concat(bytes), (byte) => bytesOf(byte))), error)
    })
  }

  it('a field block is interrupted by nothing, not by another stream’s CONTINUATION', () => {
    for (const [what, bytes] of cases.filter(([what]) => !what.startsWith('an unknown')))
      assert.equal(refusal(settings(), frame(types.headers, 0, 9), bytes), 'PROTOCOL_ERROR', what)
    assert.equal(refusal(settings(), frame(types.headers, 0, 9), frame(types.continuation, 4, 7)), 'PROTOCOL_ERROR')
    assert.equal(refusal(settings(), frame(types.headers, 0, 9), frame(types.continuation, 4, 9)), 'none')
  })

  it('a field block has its limits, in bytes and in parts', () => {
    const { blockBytesMax, continuationsMax } = http2Limits
    assert.equal(after(head(1, Buffer.alloc(blockBytesMax, 'b'), true)).length, 1)
    assert.equal(refusal(settings(), head(1, Buffer.alloc(blockBytesMax + 1, 'b'), true)), 'ENHANCE_YOUR_CALM')
    const parts = (count: number): Buffer[] => [
      frame(types.headers, 0, 1),
      ...Array.from({ length: count }, (_, i) => frame(types.continuation, i === count - 1 ? 4 : 0, 1, bytesOf(98))),
    ]
    assert.deepEqual(after(...parts(continuationsMax)), [`HEADERS 1 false -1 '${'b'.repeat(continuationsMax)}'`])
    assert.equal(refusal(settings(), ...parts(continuationsMax + 1)), 'ENHANCE_YOUR_CALM')
    assert.equal(errorCode.ENHANCE_YOUR_CALM, 11)
  })
})
