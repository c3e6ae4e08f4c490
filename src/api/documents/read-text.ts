import type { Problem } from './problem.ts'

/** A file as it was read: text, or the bytes of it. */
export type SourceFile =
  | { readonly path: string; readonly text: string }
  | { readonly path: string; readonly bytes: Uint8Array }

/** Largest file, in bytes; one object in Kubernetes' own store is at most 1.5 MiB. */
export const fileBytesMax = 4 * 1024 * 1024

const decoder = new TextDecoder('utf-8', { fatal: true })

/** The text of a file, without byte order mark, or why it is not a text that can be read as policy. */
export function readText(file: SourceFile): string | Problem {
  const size = 'bytes' in file ? file.bytes.length : file.text.length
  if (size > fileBytesMax) {
    return refuse(file, 'file-too-large', `the file has ${size} bytes; at most ${fileBytesMax} (4 MiB) are read`, {
      expected: 'a smaller file: split it at its "---" lines',
    })
  }
  if ('text' in file)
    return file.text.includes('\0') ? binary(file, file.text.indexOf('\0')) : checkEmpty(file, file.text)
  const [first, second] = file.bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return refuse(file, 'not-utf8', 'the file is UTF-16', { expected: 'UTF-8 text' })
  }
  const nul = file.bytes.indexOf(0)
  if (nul !== -1) return binary(file, nul)
  try {
    return checkEmpty(file, decoder.decode(file.bytes))
  } catch {
    return refuse(file, 'not-utf8', 'the file is not UTF-8 text', { expected: 'UTF-8 text' })
  }
}

function checkEmpty(file: SourceFile, text: string): string | Problem {
  if (text.trim() !== '') return text.startsWith('\uFEFF') ? text.slice(1) : text
  return refuse(file, 'empty-file', 'the file is empty: half-written?', {
    expected: 'documents, or a comment if it is meant to hold none',
  })
}

function binary(file: SourceFile, at: number): Problem {
  return refuse(file, 'binary-file', `the file is binary (NUL byte at offset ${at})`, { expected: 'UTF-8 text' })
}

function refuse(file: SourceFile, code: string, message: string, rest: { expected: string }): Problem {
  return { severity: 'error', code, file: file.path, line: 1, column: 1, path: '', message, ...rest }
}
