/** Tar files as POSIX ustar has them, written straight to a file; the same entries give the same bytes. */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { Entry } from './layer.ts'

const block = 512

export interface Written {
  readonly bytes: number
  readonly sha256: string
}

export function writeTar(file: string, entries: Iterable<Entry>): Written {
  const fd = openSync(file, 'w')
  const hash = createHash('sha256')
  let bytes = 0
  const write = (data: Buffer): void => {
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at)
    hash.update(data)
    bytes += data.length
  }
  try {
    for (const entry of entries) {
      const content = contentOf(entry)
      write(header(entry, content.length))
      write(content)
      write(Buffer.alloc((block - (content.length % block)) % block))
    }
    write(Buffer.alloc(2 * block))
  } finally {
    closeSync(fd)
  }
  return { bytes, sha256: hash.digest('hex') }
}

function contentOf(entry: Entry): Buffer {
  if (entry.kind === 'file') return readFileSync(entry.source)
  return Buffer.from(entry.kind === 'text' ? entry.text : '')
}

const types = { file: '0', text: '0', link: '2', directory: '5' } as const

function header(entry: Entry, size: number): Buffer {
  const data = Buffer.alloc(block)
  const [prefix, name] = split(entry.kind === 'directory' ? `${entry.path}/` : entry.path)
  const put = (text: string, at: number, room: number): void => {
    if (Buffer.byteLength(text) > room) throw new Error(`${entry.path}: '${text}' is too long for a tar file`)
    data.write(text, at)
  }
  const octal = (value: number, at: number, room: number): void =>
    put(value.toString(8).padStart(room - 1, '0'), at, room - 1)
  put(name, 0, 100)
  octal(entry.kind === 'link' ? 0o777 : entry.mode, 100, 8)
  octal(0, 108, 8) // owner and group: root
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(0, 136, 12) // time: the same bytes tomorrow
  put(types[entry.kind], 156, 1)
  if (entry.kind === 'link') put(entry.target, 157, 100)
  put('ustar\0' + '00', 257, 8)
  octal(0, 329, 8)
  octal(0, 337, 8)
  put(prefix, 345, 155)
  data.fill(' ', 148, 156)
  const sum = data.reduce((total, byte) => total + byte, 0)
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8)
  return data
}

/** A long path is stored in two parts, cut at a slash. */
function split(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) return ['', path]
  const cut = path.indexOf('/', path.length - 101)
  if (cut <= 0 || cut === path.length - 1) throw new Error(`${path}: too long for a tar file`)
  return [path.slice(0, cut), path.slice(cut + 1)]
}
