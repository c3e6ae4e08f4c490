import { readFile, stat } from 'node:fs/promises'
import { text as readAll } from 'node:stream/consumers'
import type { SourceFile } from '../api/documents/load-documents.ts'

/** The files of a path that a person named: a file, the YAML and JSON files of a folder, or `-` for standard input. */
export async function readPath(path: string): Promise<SourceFile[]> {
  if (path === '-') return [{ path: 'stdin', text: await readAll(process.stdin) }]
  if (!(await stat(path)).isDirectory()) return [{ path, bytes: await readFile(path) }]
  const { listFolder } = await import('../../control-plane/sources/folder.ts')
  const listed = await listFolder(path)
  return Promise.all(listed.map(async (file) => ({ path: file.path, bytes: await readFile(file.path) })))
}

/** All files of several paths. `refuse` ends the command for a path that cannot be read or has no file. */
export async function readPaths(paths: readonly string[], refuse: (message: string) => never): Promise<SourceFile[]> {
  const files: SourceFile[] = []
  for (const path of paths) {
    const read = await readPath(path).catch((error: unknown) => refuse(`cannot read ${path}: ${reasonOf(error)}`))
    if (read.length === 0) refuse(`no .yaml, .yml or .json file in ${path}`)
    files.push(...read)
  }
  return files
}

/** Text of a file, whatever it was read as. */
export function textOf(file: SourceFile): string {
  return 'text' in file ? file.text : new TextDecoder().decode(file.bytes)
}

export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (code === 'ENOENT') return 'no such file or folder'
  if (code === 'EACCES') return 'no permission'
  return error instanceof Error ? error.message : String(error)
}
