import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** The last `count` lines of a log file that are not empty; none when there is no file. Reads 8 KiB at most. */
export function lastLines(path: string, count: number): readonly string[] {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    // A process that never started has no log.
    return []
  }
  try {
    const size = fstatSync(fd).size
    const buffer = Buffer.alloc(Math.min(size, tailBytesMax))
    readSync(fd, buffer, 0, buffer.length, size - buffer.length)
    return buffer
      .toString('utf8')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count)
  } finally {
    closeSync(fd)
  }
}

const tailBytesMax = 8 * 1024
