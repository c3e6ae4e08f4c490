/** One source file, with comments and strings told apart from code. All three texts have the same length and lines. */
export interface SourceText {
  /** Comments are blanks. */
  readonly code: string
  /** Comments, strings, template text and regular expressions are blanks. */
  readonly bare: string
  /** What stands between the quotes of each string. */
  readonly strings: readonly string[]
}

/** Where something begins that is not code, or where a template's `${` may end. */
const marks = /['"`/{}]/g
/** A slash after one of these divides nothing: it begins a regular expression. */
const beforeRegex = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|=>|\b(?:return|typeof|case|in|of|void|await|yield))\s*$/

/** Reads JavaScript or TypeScript. A small scanner: it knows what a quote or slash begins, nothing else of the language. */
export function readSource(text: string): SourceText {
  let code = ''
  let bare = ''
  let from = 0
  const strings: string[] = []
  /** For each template that we are in an expression of: how many of the expression's own braces are open. */
  const templates: number[] = []

  const take = (start: number, end: number, isComment: boolean): void => {
    const plain = text.slice(from, start)
    const span = text.slice(start, end)
    const blank = span.replaceAll(/[^\n]/g, ' ')
    code += plain + (isComment ? blank : span)
    bare += plain + blank
    from = end
  }
  /** Takes template text from `start`; true if it stopped at `${`. */
  const template = (start: number): void => {
    let at = start
    while (at < text.length && text[at] !== '`' && !text.startsWith('${', at)) at += text[at] === '\\' ? 2 : 1
    strings.push(text.slice(start, at))
    const opens = text[at] === '$'
    if (opens) templates.push(0)
    take(start - 1, Math.min(text.length, at + (opens ? 2 : 1)), false)
  }

  for (let at = next(text, 0); at !== -1; at = next(text, Math.max(from, at + 1))) {
    const mark = text[at]
    const open = templates.length - 1
    if (mark === '{') {
      if (open >= 0) templates[open]!++
    } else if (mark === '}') {
      if (open >= 0 && templates[open]!-- === 0) {
        templates.pop()
        template(at + 1)
      }
    } else if (mark === '`') {
      template(at + 1)
    } else if (mark !== '/') {
      const end = endOfQuoted(text, at, mark!)
      strings.push(text.slice(at + 1, end - 1))
      take(at, end, false)
    } else if (text[at + 1] === '/') {
      const end = text.indexOf('\n', at)
      take(at, end === -1 ? text.length : end, true)
    } else if (text[at + 1] === '*') {
      const end = text.indexOf('*/', at + 2)
      take(at, end === -1 ? text.length : end + 2, true)
    } else if (beforeRegex.test(text.slice(Math.max(0, at - 40), at))) {
      take(at, endOfRegex(text, at), false)
    }
  }
  take(text.length, text.length, false)
  return { code, bare, strings }
}

function next(text: string, from: number): number {
  marks.lastIndex = from
  return marks.exec(text)?.index ?? -1
}

function endOfQuoted(text: string, start: number, quote: string): number {
  let at = start + 1
  while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1
  return Math.min(text.length, at + 1)
}

function endOfRegex(text: string, start: number): number {
  let inClass = false
  for (let at = start + 1; at < text.length && text[at] !== '\n'; at++) {
    const char = text[at]
    if (char === '\\') at++
    else if (char === '[') inClass = true
    else if (char === ']') inClass = false
    else if (char === '/' && !inClass) return at + 1
  }
  return start + 1
}
