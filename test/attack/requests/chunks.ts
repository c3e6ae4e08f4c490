/** Chunk sizes, chunk ends and chunk extensions (RFC 9112 sections 7.1 and 7.1.1). */
import { chunks, rowOf, smuggled, type Vector } from '../vector.ts'

const { refused: refuse, served } = rowOf(5)
const refused = (name: string, rule: string, body: string, verdict = 400): Vector =>
  refuse(name, rule, chunks(body), verdict, { late: true })

const last = '0\r\n\r\n'
const data = `abc\r\n${last}`

const sizes: readonly Vector[] = [
  refused('chunk size 0x', '9112 7.1', `0x3\r\n${data}`),
  refused('chunk size 0X', '9112 7.1', `0X3\r\n${data}`),
  refused('chunk size +', '9112 7.1', `+3\r\n${data}`),
  refused('chunk size -', '9112 7.1', `-3\r\n${data}`),
  refused('chunk size -0', '9112 7.1', `3\r\nabc\r\n-0\r\n\r\n`),
  refused('chunk size with underscore', '9112 7.1', `0_3\r\n${data}`),
  refused('chunk size with h', '9112 7.1', `3h\r\n${data}`),
  refused('chunk size with a fraction', '9112 7.1', `3.0\r\n${data}`),
  refused('chunk size in quotes', '9112 7.1', `"3"\r\n${data}`),
  refused('chunk size after a comma', '9112 7.1', `0,3\r\n${data}`),
  refused('chunk size empty', '9112 7.1', `\r\n${data}`),
  refused('chunk size empty, with extension', '9112 7.1', `;a=b\r\n${data}`),
  refused('chunk size with leading space', '9112 7.1', ` 3\r\n${data}`),
  refused('chunk size with leading tab', '9112 7.1', `\t3\r\n${data}`),
  refused('chunk size with trailing space', '9112 7.1.1', `3 \r\n${data}`),
  refused('chunk size with trailing tab', '9112 7.1.1', `3\t\r\n${data}`),
  refused('chunk size with space inside', '9112 7.1', `0 3\r\n${data}`),
  refused('chunk size, space, extension', '9112 7.1.1', `3 ;a=b\r\n${data}`),
  refused('chunk size with vertical tab', '9112 7.1', `3\x0b\r\n${data}`),
  refused('chunk size with NUL', '9112 7.1', `3\0\r\n${data}`),
  refused('chunk size with high byte', '9112 7.1', `3\xa0\r\n${data}`),
  refused('chunk size in full-width digits', '9112 7.1', `\xef\xbc\x93\r\n${data}`),
  refused('chunk size with bare CR', '9112 7.1', `3\r${data}`),
  refused('chunk size with CR before it', '9112 7.1', `\r3\r\n${data}`),
  refused('chunk size of 17 digits', '9112 7.1', `10000000000000003\r\n${data}`),
  refused('chunk size of 2^64 + 3', '9112 7.1', `10000000000000003;a=b\r\n${data}`),
  refused('chunk size of 2^64 - 1', '9112 7.1', `ffffffffffffffff\r\n${data}`),
  refused('chunk size of 2^63', '9112 7.1', `8000000000000000\r\n${data}`),
  refused('chunk size after 20 zeros', '9112 7.1', `000000000000000000003\r\n${data}`),
  refused('last chunk of 20 zeros', '9112 7.1', `3\r\nabc\r\n${'0'.repeat(20)}\r\n\r\n`),
  refused('chunk size missing after a chunk', '9112 7.1', `3\r\nabc\r\n\r\n\r\n`),
  refused('a request where a chunk size should be', '9112 7.1', `3\r\nabc\r\n${smuggled}`),
  served('chunk size with leading zeros', '9112 7.1', chunks(`0003\r\nabc\r\n000\r\n\r\n`), {
    must: /\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/,
  }),
  served(
    'chunk size in small and capital letters',
    '9112 7.1',
    chunks(`a\r\n0123456789\r\nA\r\n0123456789\r\n${last}`),
    { must: /0\r\n\r\n$/ },
  ),
  served('a request as a chunk', '9112 7.1', chunks(`${smuggled.length.toString(16)}\r\n${smuggled}\r\n${last}`), {
    requests: 1,
  }),
]

const ends: readonly Vector[] = [
  refused('chunk size ended by LF', '9112 7.1', `3\n${data}`),
  refused('chunk size ended by CR CR LF', '9112 7.1', `3\r\r\n${data}`),
  refused('chunk size ended by LF CR', '9112 7.1', `3\n\r${data}`),
  refused('no CRLF after chunk', '9112 7.1', `3\r\nabc${last}`),
  refused('LF after chunk', '9112 7.1', `3\r\nabc\n${last}`),
  refused('CR after chunk', '9112 7.1', `3\r\nabc\r${last}`),
  refused('CR CR LF after chunk', '9112 7.1', `3\r\nabc\r\r\n${last}`),
  refused('two bytes that are no CRLF after chunk', '9112 7.1', `3\r\nabcXX${last}`),
  refused('chunk longer than its size', '9112 7.1', `2\r\nabc\r\n${last}`),
  refused('chunk shorter than its size', '9112 7.1', `5\r\nabc\r\n${last}`),
  refused('last chunk ended by LF', '9112 7.1', '3\r\nabc\r\n0\n\r\n'),
  refused('last chunk, then LF', '9112 7.1', '3\r\nabc\r\n0\r\n\n'),
  refused('last chunk, then bare CR and a request', '9112 7.1', `3\r\nabc\r\n0\r\n\r${smuggled}`),
  refused('a request without an empty line before it', '9112 7.1.2', `3\r\nabc\r\n0\r\n${smuggled}`),
]

/** A line that one parser ends at a bare LF or CR and another at the CRLF: TERM.EXT, EXT.TERM and their kin of 2025. */
const extensions: readonly Vector[] = [
  refused('LF in chunk extension', '9112 7.1.1', `3;a\nb\r\n${data}`),
  refused(
    'TERM.EXT: LF at the beginning of an extension',
    '9112 7.1.1',
    `2;\nxx\r\n${smuggled.length.toString(16)}\r\n${smuggled}\r\n${last}`,
  ),
  refused('EXT.TERM: an extension ended by LF', '9112 7.1.1', `3;a=b\n${data}`),
  refused('an extension ended by LF without a name', '9112 7.1.1', `3;\n${data}`),
  refused('an extension ended by CR', '9112 7.1.1', `3;a=b\r${data}`),
  refused('an extension ended by CR X', '9112 7.1.1', `3;a=b\rX\r\n${data}`),
  refused('CR in chunk extension', '9112 7.1.1', `3;a\rb\r\n${data}`),
  refused('CR CR LF after an extension', '9112 7.1.1', `3;a=b\r\r\n${data}`),
  refused('TERM.SPILL: LF for CRLF after a chunk', '9112 7.1', `5\r\nabcde\n0\r\n\r\n${smuggled}`),
  refused('SPILL.TERM: one byte too much, then CRLF', '9112 7.1', `5\r\nabcdeX\r\n0\r\n\r\n`),
  refused('SPILL.TERM: two bytes too much', '9112 7.1', `5\r\nabcdeXX0\r\n\r\n${smuggled}`),
  refused('LF in the extension of the last chunk', '9112 7.1.1', `3\r\nabc\r\n0;\n\r\n${smuggled}`),
  refused('NUL in chunk extension', '9112 7.1.1', `3;a\0\r\n${data}`),
  refused('DEL in chunk extension', '9112 7.1.1', `3;a\x7f\r\n${data}`),
  refused('vertical tab in chunk extension', '9112 7.1.1', `3;a\x0b=b\r\n${data}`),
  refused('extension without a name', '9112 7.1.1', `3;\r\n${data}`),
  refused('extension of blanks', '9112 7.1.1', `3; \t\r\n${data}`),
  refused('extension with value but no name', '9112 7.1.1', `3;=b\r\n${data}`),
  refused('extension with an empty value', '9112 7.1.1', `3;a=\r\n${data}`),
  refused('two semicolons', '9112 7.1.1', `3;;a=b\r\n${data}`),
  refused('extension with high byte for a name', '9112 7.1.1', `3;\xe9=b\r\n${data}`),
  refused('quoted value with CRLF in it', '9112 7.1.1', `3;a="\r\n${data}"\r\n${data}`),
  refused('quoted value with LF in it', '9112 7.1.1', `3;a="\n"\r\n${data}`),
  refused('quoted value with CR in it', '9112 7.1.1', `3;a="\r"\r\n${data}`),
  refused('quoted value that is not closed', '9112 7.1.1', `3;a="b\r\n${data}`),
  refused('quoted value that ends in an escape', '9112 7.1.1', `3;a="b\\"\r\n${data}`),
  refused('quoted value with escaped CRLF', '9112 7.1.1', `3;a="\\\r\n"\r\n${data}`),
  refused('quoted value with a word behind', '9112 7.1.1', `3;a="b"c\r\n${data}`),
  refused('quoted name', '9112 7.1.1', `3;"a"=b\r\n${data}`),
  refused('chunk extension of 20 KB', '9112 7.1.1', `3;${'a'.repeat(20_000)}\r\n${data}`, 413),
  served('small chunk extension is dropped', '9112 7.1.1', chunks(`3;a=b\r\n${data}`), { never: /a=b/, must: /abc/ }),
  served('extensions with quotes and blanks are dropped', '9112 7.1.1', chunks(`3; a = "b\\"c" ;d\r\n${data}`), {
    never: /;/,
    must: /abc/,
  }),
  served('extension of the last chunk is dropped', '9112 7.1.1', chunks(`3\r\nabc\r\n0;a=b\r\n\r\n`), {
    never: /a=b/,
    must: /abc/,
  }),
]

export const chunkVectors: readonly Vector[] = [...sizes, ...ends, ...extensions]
