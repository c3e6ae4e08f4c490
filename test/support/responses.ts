/** Reads responses off a byte string: a small reader of its own, so that the engine is not tested with itself. */
export interface ReadResponse {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** The whole responses at the start of `text`, latin1, and what is left. `bodyless`: by index, an answer to HEAD. */
export function readResponses(
  text: string,
  bodyless: (index: number) => boolean = () => false,
): { readonly responses: ReadResponse[]; readonly rest: string } {
  const responses: ReadResponse[] = []
  for (;;) {
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return { responses, rest: text }
    const head = text.slice(0, end + 2)
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
    if (status < 200) {
      text = text.slice(end + 4)
      continue
    }
    let body = ''
    let at = end + 4
    const length = /^content-length: (\d+)\r$/im.exec(head)
    if (bodyless(responses.length) || status === 204 || status === 304) {
      // Its length, if any, frames nothing.
    } else if (/^transfer-encoding: chunked\r$/im.test(head)) {
      for (;;) {
        const lineEnd = text.indexOf('\r\n', at)
        if (lineEnd === -1) return { responses, rest: text }
        const size = Number.parseInt(text.slice(at, lineEnd), 16)
        at = lineEnd + 2
        if (size === 0) break
        if (text.length < at + size + 2) return { responses, rest: text }
        body += text.slice(at, at + size)
        at += size + 2
      }
      const trailersEnd = text.startsWith('\r\n', at) ? at + 2 : text.indexOf('\r\n\r\n', at) + 4
      if (trailersEnd < at + 2 || text.length < trailersEnd) return { responses, rest: text }
      at = trailersEnd
    } else {
      const bytes = Number(length?.[1] ?? 0)
      if (text.length < at + bytes) return { responses, rest: text }
      body = text.slice(at, at + bytes)
      at += bytes
    }
    responses.push({ status, head, body })
    text = text.slice(at)
  }
}
