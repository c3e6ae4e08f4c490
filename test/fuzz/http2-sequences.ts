/** Sequences of frames that a client may send, most of them right, each wrong one with a name. */
import {
  data,
  flags,
  frame,
  goaway,
  headers,
  numbers,
  ping,
  reset,
  settings,
  types,
  windowUpdate,
} from '../support/http2/frames.ts'
import { block, type Field } from '../support/http2/hpack.ts'
import { type Chance, one } from '../support/mutate.ts'

export interface Sequence {
  readonly bytes: Buffer
  /** Names of what is wrong in it. */
  readonly wrong: Set<string>
  /** Streams that were ended by their client and not reset by it, with their paths. */
  readonly ended: Map<number, string>
  /** What was sent for each path. */
  readonly bodies: Map<string, { body: string; ended: boolean }>
}

type Wrong = (write: Writer, pick: Chance) => void

/** What is wrong with one message. */
const wrongHeads: Readonly<Record<string, (fields: Field[]) => Field[]>> = {
  'upper case': (fields) => [...fields, ['X-A', 'b']],
  'a field of connections': (fields) => [...fields, ['connection', 'close']],
  'te gzip': (fields) => [...fields, ['te', 'gzip']],
  'no :path': (fields) => fields.filter(([name]) => name !== ':path'),
  ':path in absolute form': (fields) =>
    fields.map(([name, value]): Field => [name, name === ':path' ? `http://app${value}` : value]),
  ':method twice': (fields) => [[':method', 'GET'], ...fields],
  ':status in a request': (fields) => [...fields, [':status', '200']],
  'a pseudo-header field behind others': (fields) => [...fields.slice(1), ['x-a', 'b'], fields[0]!],
  'a control character': (fields) => [...fields, ['x-a', 'a\x00b']],
  'a blank at the end of a value': (fields) => [...fields, ['x-a', 'a ']],
  'Host that is not :authority': (fields) => [...fields, ['host', 'other']],
  'an authority that is none': (fields) =>
    fields.map(([name, value]): Field => [name, name === ':authority' ? 'a b' : value]),
  'a Content-Length that is none': (fields) => [...fields, ['content-length', '1x']],
  'a Content-Length that is not met': (fields) => [...fields, ['content-length', '999999']],
  'an Expect that nobody knows': (fields) => [...fields, ['expect', 'x']],
  'a scheme of its own': (fields) => fields.map(([name, value]): Field => [name, name === ':scheme' ? 'ftp' : value]),
}

/** What is wrong with one frame. */
const wrongFrames: Readonly<Record<string, Wrong>> = {
  'WINDOW_UPDATE of nothing': (write, pick) => write.raw(windowUpdate(one([0, ...write.open.keys()], pick), 0)),
  'WINDOW_UPDATE of a stream that is to come': (write) => write.raw(windowUpdate(write.next + 10, 1)),
  'a window over 2^31-1': (write, pick) => write.raw(windowUpdate(one([0, ...write.open.keys()], pick), 0x7fff_ffff)),
  'RST_STREAM of a stream that is to come': (write) => write.raw(reset(write.next + 10, 'CANCEL')),
  'DATA on a stream that is to come': (write) => write.raw(data(write.next + 10, 'x')),
  'DATA on stream 0': (write) => write.raw(data(0, 'x')),
  'DATA on a stream that has ended': (write, pick) => write.raw(data(one([...write.over], pick) ?? 0, 'x')),
  'HEADERS on a stream that has ended': (write, pick) => {
    const stream = one([...write.over], pick)
    if (stream !== undefined) write.raw(headers(stream, block([['x', 'y']])))
  },
  'a stream of the server': (write) => write.raw(headers(write.next + 1, block(write.fields('/even')))),
  'a stream that goes back': (write) => {
    write.next += 20
    write.begin(true)
    write.raw(headers(write.next - 10, block(write.fields('/back'))))
  },
  'a stream that depends on itself': (write) =>
    write.raw(frame(types.priority, 0, write.next, Buffer.concat([numbers(write.next), Buffer.from([1])]))),
  'PRIORITY of the wrong size': (write) => write.raw(frame(types.priority, 0, 1, Buffer.alloc(4))),
  'PING on a stream': (write) => write.raw(frame(types.ping, 0, 1, Buffer.alloc(8))),
  'PING of the wrong size': (write) => write.raw(frame(types.ping, 0, 0, Buffer.alloc(7))),
  'SETTINGS in pieces': (write) => write.raw(frame(types.settings, 0, 0, Buffer.alloc(5))),
  'ENABLE_PUSH of 2': (write) => write.raw(settings({ enablePush: 2 })),
  'MAX_FRAME_SIZE of 1': (write) => write.raw(settings({ maxFrameSize: 1 })),
  'INITIAL_WINDOW_SIZE over 2^31-1': (write) => write.raw(settings({ initialWindowSize: 0x8000_0000 })),
  PUSH_PROMISE: (write) =>
    write.raw(frame(types.push, 4, 1, Buffer.concat([numbers(2), block(write.fields('/push'))]))),
  'CONTINUATION of nothing': (write) => write.raw(frame(types.continuation, 4, 1)),
  'a block that is interrupted': (write) =>
    write.raw(frame(types.headers, 1, write.next, block(write.fields('/cut'))), ping()),
  'more padding than frame': (write) => write.raw(frame(types.data, flags.padded, 1, Buffer.from([9, 0]))),
  'a frame that is too long': (write) => write.raw(frame(types.data, 0, 1, Buffer.alloc(16_385))),
  'an index that nothing has': (write) => write.raw(headers(write.next, Buffer.from([0xff, 0x20]))),
  'a block that is cut off': (write) => write.raw(headers(write.next, Buffer.from([0x00, 0x05, 0x61]))),
  'trailers with a pseudo-header field': (write, pick) => write.trailers(pick, [[':path', '/x']]),
  'trailers that end nothing': (write, pick) => write.trailers(pick, [['x', 'y']], false),
  'an acknowledgement of SETTINGS nobody waits for': (write) => write.raw(frame(types.settings, flags.ack, 0)),
}

class Writer {
  readonly parts: Buffer[] = []
  readonly open = new Map<number, { path: string; due: number }>()
  readonly over = new Set<number>()
  readonly ended = new Map<number, string>()
  readonly bodies = new Map<string, { body: string; ended: boolean }>()
  next = 1
  readonly #name: string
  readonly #pick: Chance

  constructor(name: string, pick: Chance) {
    this.#name = name
    this.#pick = pick
  }

  raw(...bytes: readonly Buffer[]): void {
    this.parts.push(...bytes)
  }

  fields(path: string): Field[] {
    return [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', 'app'],
    ]
  }

  begin(ends: boolean, change?: (fields: Field[]) => Field[]): void {
    const pick = this.#pick
    const stream = this.next
    this.next += 2
    const path = `/${this.#name}/${stream}`
    let fields = this.fields(path)
    if (pick(3) === 0) fields.push(['cookie', 'a=b'], ['cookie', 'c=d'])
    if (pick(4) === 0) fields.push(['x-long', 'l'.repeat(pick(3_000))])
    const due = !ends && change === undefined && pick(4) === 0 ? 1 + pick(5_000) : -1
    if (due !== -1) fields.push(['content-length', String(due)])
    fields = change?.(fields) ?? fields
    const bytes = block(fields)
    const end = ends ? flags.endStream : 0
    this.bodies.set(path, { body: '', ended: ends })
    this.#head(stream, bytes, end, pick(8))
    if (ends) this.#end(stream, path)
    else this.open.set(stream, { path, due })
  }

  /** In one of the ways in which a head may travel. */
  #head(stream: number, bytes: Buffer, end: number, how: number): void {
    const pick = this.#pick
    const whole = end | flags.endHeaders
    if (how === 0) {
      const cut = pick(bytes.length)
      this.raw(headers(stream, bytes.subarray(0, cut), end), frame(types.continuation, 4, stream, bytes.subarray(cut)))
    } else if (how === 1) {
      const padding = pick(256)
      const payload = Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)])
      this.raw(headers(stream, payload, whole | flags.padded))
    } else if (how === 2) {
      const payload = Buffer.concat([numbers(0), Buffer.from([pick(256)]), bytes])
      this.raw(headers(stream, payload, whole | flags.priority))
    } else this.raw(headers(stream, bytes, whole))
  }

  #end(stream: number, path: string): void {
    this.open.delete(stream)
    this.over.add(stream)
    this.ended.set(stream, path)
    this.bodies.get(path)!.ended = true
  }

  body(pick: Chance): void {
    const stream = one([...this.open.keys()], pick)
    if (stream === undefined) return
    const state = this.open.get(stream)!
    const ends = pick(3) === 0
    let size = pick(4) === 0 ? 0 : pick(4_000)
    if (state.due !== -1) size = ends ? state.due : Math.min(size, state.due)
    if (state.due !== -1) state.due -= size
    const bytes = one(['a', 'b', 'c', 'd'], pick).repeat(size)
    this.bodies.get(state.path)!.body += bytes
    const end = ends ? flags.endStream : 0
    if (pick(4) === 0) {
      const padding = pick(256)
      const payload = Buffer.concat([Buffer.from([padding]), Buffer.from(bytes), Buffer.alloc(padding)])
      this.raw(frame(types.data, end | flags.padded, stream, payload))
    } else this.raw(frame(types.data, end, stream, Buffer.from(bytes)))
    if (ends) this.#end(stream, state.path)
  }

  trailers(pick: Chance, fields: Field[], ends = true): void {
    const stream = one(
      [...this.open].filter(([, { due }]) => due <= 0).map(([id]) => id),
      pick,
    )
    if (stream === undefined) return
    this.raw(headers(stream, block(fields), flags.endHeaders | (ends ? flags.endStream : 0)))
    this.#end(stream, this.open.get(stream)!.path)
  }

  reset(pick: Chance): void {
    const stream = one([...this.open.keys(), ...this.over], pick)
    if (stream === undefined) return
    this.raw(reset(stream, one(['CANCEL', 'NO_ERROR', 'INTERNAL_ERROR'], pick)))
    this.open.delete(stream)
    this.ended.delete(stream)
    this.over.add(stream)
  }
}

/** `name`: first part of all its paths. `wrongs`: how many of its frames are wrong at most. */
export function sequence(name: string, pick: Chance, wrongs: number): Sequence {
  const write = new Writer(name, pick)
  const wrong = new Set<string>()
  const steps = 5 + pick(25)
  const at = new Set(Array.from({ length: pick(wrongs + 1) }, () => pick(steps)))
  for (let i = 0; i < steps; i++) {
    if (at.has(i)) {
      const isHead = pick(3) === 0
      const what = one(Object.keys(isHead ? wrongHeads : wrongFrames), pick)
      wrong.add(what)
      if (isHead) write.begin(pick(2) === 0, wrongHeads[what])
      else wrongFrames[what]!(write, pick)
      continue
    }
    const kind = pick(20)
    if (kind < 7) write.begin(pick(2) === 0)
    else if (kind < 13) write.body(pick)
    else if (kind === 13) write.trailers(pick, [['x-checksum', 'y']])
    else if (kind === 14) write.reset(pick)
    else if (kind === 15) write.raw(windowUpdate(one([0, ...write.open.keys()], pick), 1 + pick(1_000)))
    else if (kind === 16)
      write.raw(
        settings({
          initialWindowSize: one([100, 65_535, 1_000_000], pick),
          headerTableSize: one([0, 100, 4_096], pick),
          maxConcurrentStreams: pick(3),
        }),
      )
    else if (kind === 17) write.raw(ping())
    else if (kind === 18) write.raw(frame(0x30 + pick(10), pick(256), pick(5), Buffer.alloc(pick(100))))
    else write.raw(frame(types.priority, 0, write.next + 50, Buffer.concat([numbers(0), Buffer.from([7])])))
  }
  // Some go in good order.
  if (pick(20) === 0) write.raw(goaway(0, 'NO_ERROR'))
  return { bytes: Buffer.concat(write.parts), wrong, ended: write.ended, bodies: write.bodies }
}

/** Bytes changed, taken out, doubled. */
export function mutated(bytes: Buffer, pick: Chance): Buffer {
  let text = bytes
  for (let changes = 1 + pick(4); changes > 0 && text.length > 0; changes--) {
    const at = pick(text.length)
    const kind = pick(4)
    if (kind === 0) text = Buffer.concat([text.subarray(0, at), text.subarray(at + 1 + pick(12))])
    else if (kind === 1)
      text = Buffer.concat([text.subarray(0, at), text.subarray(at, at + 1 + pick(40)), text.subarray(at)])
    else {
      text = Buffer.from(text)
      text[at] = kind === 2 ? pick(256) : text[at]! ^ (1 << pick(8))
    }
  }
  return text
}
