declare global {
  interface Buffer {
    /** Node's own, undocumented in the types: the fast path under toString('latin1', start, end). */
    latin1Slice(start?: number, end?: number): string
    /** The same under write(text, offset, length, 'latin1'). */
    latin1Write(text: string, offset: number, length: number): number
  }
}

/** Bytes as one latin1 character each: the form in which heads and small bodies travel through the engine. */
export function latin1(chunk: Buffer, start: number, end: number): string {
  return chunk.latin1Slice(start, end)
}
