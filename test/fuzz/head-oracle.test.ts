/**
 * The head parser and the body framing against Node's own parser, and a check of the check: with one rule of the parser
 * loosened, the same run must find it.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

function run(folder: string, runs: number, seed: number): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--no-warnings', join(root, 'test/fuzz/head-oracle.ts'), folder, String(runs), String(seed)],
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : 1, text: stdout + stderr }),
    )
  })
}

interface Mutant {
  readonly rule: string
  readonly file: string
  readonly from: string
  readonly to: string
}

const mutants: readonly Mutant[] = [
  {
    rule: 'CRLF ends a field (9112 2.2)',
    file: 'fields.ts',
    from: 'if (c !== CR || text.charCodeAt(pos + 1) !== LF)',
    to: 'if (c !== CR && c !== LF)',
  },
  {
    rule: 'no space before the colon (9112 5.1)',
    file: 'fields.ts',
    from: 'if (c !== COLON || pos === nameStart)',
    to: 'while (c === SP) c = text.charCodeAt(++pos)\n    if (c !== COLON || pos === nameStart)',
  },
  {
    rule: 'one Content-Length (9112 6.3)',
    file: 'fields.ts',
    from: 'if (fields.contentLength !== -1) throw',
    to: 'if (fields.contentLength === -7) throw',
  },
  {
    rule: 'digits only in Content-Length (9110 8.6)',
    file: 'fields.ts',
    from: 'if (digit < 0 || digit > 9) throw',
    to: 'if (digit > 9) throw',
  },
  {
    rule: 'not both framings (9112 6.1)',
    file: 'request-head.ts',
    from: 'if (fields.contentLength !== -1) throw',
    to: 'if (fields.contentLength === -7) throw',
  },
  {
    rule: 'exactly chunked (9112 6.1)',
    file: 'fields.ts',
    from: "if (value.toLowerCase() !== 'chunked')",
    to: "if (!value.toLowerCase().includes('chunked'))",
  },
  {
    rule: 'no control characters in values (9110 5.5)',
    file: 'chars.ts',
    from: 'if (c === 0x09 || (c >= 0x20 && c !== 0x7f)) bits |= fieldValueChar',
    to: 'if (c !== 0x0d && c !== 0x0a) bits |= fieldValueChar',
  },
  {
    rule: 'CRLF after a chunk (9112 7.1)',
    file: 'framing.ts',
    from: "if (chunk[pos++] !== CR) throw this.#malformed('chunk data longer than its size')\n          this.#state = afterDataCr",
    to: 'this.#state = chunk[pos] === CR ? afterDataCr : inSize\n          if (chunk[pos] === CR) pos++',
  },
  {
    rule: 'hexadecimal chunk size (9112 7.1)',
    file: 'framing.ts',
    from: 'if (c >= 0x41 && c <= 0x46) return c - 0x37',
    to: 'if (c >= 0x41 && c <= 0x46) return c - 0x37\n  if (c === 0x2b || c === 0x20) return 0',
  },
  {
    rule: 'exactly one Host (9112 3.2)',
    file: 'fields.ts',
    from: 'if (fields.host !== undefined) throw',
    to: "if (fields.host === '-') throw",
  },
]

describe('head parser', () => {
  it('agrees with llhttp on 200,000 inputs', { timeout: 240_000 }, async () => {
    const { code, text } = await run(join(root, 'src/http1'), 200_000, 20_261_124)
    assert.equal(code, 0, text)
    assert.match(text, /0 disagreements/)
  })

  for (const mutant of mutants) {
    it(`a parser without '${mutant.rule}' is caught`, { timeout: 60_000 }, async () => {
      // Beside the real one, so that its imports of ../base resolve.
      const folder = mkdtempSync(join(root, 'src/.mutant-'))
      try {
        cpSync(join(root, 'src/http1'), folder, { recursive: true, filter: (path) => !path.endsWith('.test.ts') })
        const file = join(folder, mutant.file)
        const source = readFileSync(file, 'utf8')
        assert.ok(source.includes(mutant.from), `${mutant.file} no longer has: ${mutant.from}`)
        writeFileSync(file, source.replace(mutant.from, mutant.to))
        const { code, text } = await run(folder, 30_000, 3)
        assert.equal(code, 1, `the loosened parser passed: ${text}`)
      } finally {
        rmSync(folder, { recursive: true })
      }
    })
  }
})
