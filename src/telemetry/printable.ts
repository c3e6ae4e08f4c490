const quotable = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/
const ascii = /^[\x20-\x7e]*$/

/**
 * Text from the network as one that can stand between quotes on one line of a log: printable ASCII, everything else
 * (control characters, quotes, backslashes, bytes above 127) as `\xNN`, cut to `charactersMax`.
 * CVE-2024-45808 is what happens without it.
 */
export function printable(text: string, charactersMax: number): string {
  return text.length <= charactersMax && quotable.test(text) ? text : escaped(text, charactersMax, quotable)
}

/** The same for a terminal or a span attribute, where quotes and backslashes are harmless; applying it twice changes nothing. */
export function visible(text: string, charactersMax: number): string {
  return text.length <= charactersMax && ascii.test(text) ? text : escaped(text, charactersMax, ascii)
}

function escaped(text: string, charactersMax: number, allowed: RegExp): string {
  let out = ''
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!
    const part = allowed.test(character) ? character : escapeOf(character.charCodeAt(0))
    if (out.length + part.length > charactersMax - 3) return `${out}...`
    out += part
  }
  return out
}

function escapeOf(code: number): string {
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}
