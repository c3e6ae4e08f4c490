/** How far one answer with Content-Length has come. What else a server may send, the bench's backend does not. */
export class Answer {
  status = 0
  #expected = -1
  #seen = 0
  #head = ''

  reset(): void {
    this.status = 0
    this.#expected = -1
    this.#seen = 0
    this.#head = ''
  }

  /** Whether it is complete. Throws for an answer that cannot be counted. */
  add(bytes: Buffer, length: number): boolean {
    this.#seen += length
    if (this.#expected === -1) {
      this.#head += bytes.latin1Slice(0, Math.min(length, headBytesMax))
      const end = this.#head.indexOf('\r\n\r\n')
      if (end === -1) {
        if (this.#head.length >= headBytesMax) throw new Error('the head of an answer does not end')
        return false
      }
      const body = /\r\ncontent-length: *(\d+)/i.exec(this.#head.slice(0, end))?.[1]
      if (body === undefined) throw new Error(`an answer without Content-Length:\n${this.#head.slice(0, end)}`)
      this.status = Number(this.#head.slice(9, 12))
      this.#expected = end + 4 + Number(body)
    }
    if (this.#seen > this.#expected) throw new Error('more bytes than one answer has')
    return this.#seen === this.#expected
  }
}

const headBytesMax = 16 * 1024
