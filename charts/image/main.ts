/**
 * `npm run image -- [--name NAME:TAG] (--output FILE | --folder FOLDER)`: Outrigger's image, as a file for
 * `docker load`, `podman load` or `ctr images import`, or unpacked into a folder, as the Dockerfile wants it.
 */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type Image, writeImage } from './archive.ts'
import { outriggerImage } from './outrigger.ts'

const usage = 'usage: npm run image -- [--name NAME:TAG] (--output FILE | --folder EMPTY-FOLDER)'

function main(): void {
  const { name, output, folder } = options()
  if ((output === undefined) === (folder === undefined)) throw new Error(usage)
  if (!/^[^\s:@][^\s@]*:\w[\w.-]*$/.test(name)) throw new Error(`${name}: not NAME:TAG\n${usage}`)
  const work = mkdtempSync(path.join(tmpdir(), 'outrigger-build-'))
  try {
    const image = outriggerImage(name, work)
    if (output !== undefined) {
      const bytes = writeImage(output, image)
      process.stdout.write(`${name}: ${(bytes / 1e6).toFixed(1)} MB in ${output}\n`)
    } else if (folder !== undefined) {
      unpack(image, folder)
    }
  } finally {
    rmSync(work, { recursive: true })
  }
}

function options(): { name: string; output?: string; folder?: string } {
  try {
    const { values } = parseArgs({
      options: { name: { type: 'string' }, output: { type: 'string' }, folder: { type: 'string' } },
    })
    return { ...values, name: values.name ?? 'outrigger:dev' }
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${usage}`, { cause: error })
  }
}

function unpack(image: Image, folder: string): void {
  mkdirSync(folder, { recursive: true })
  if (readdirSync(folder).length > 0) throw new Error(`${folder} is not empty`)
  for (const entry of image.layers.flatMap(({ entries }) => entries)) {
    const at = path.join(folder, entry.path)
    if (entry.kind === 'directory') mkdirSync(at, { recursive: true })
    else if (entry.kind === 'link') symlinkSync(entry.target, at)
    else if (entry.kind === 'text') writeFileSync(at, entry.text)
    else copyFileSync(entry.source, at)
    if (entry.kind !== 'link') chmodSync(at, entry.mode)
  }
}

try {
  main()
} catch (error) {
  process.stderr.write(`image: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
