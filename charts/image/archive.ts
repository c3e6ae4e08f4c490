/**
 * An image as one file, the kind that `docker load`, `podman load` and `ctr images import` take. No daemon and no
 * registry are needed to write it, and the same files give the same bytes.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Entry, Layer } from './layer.ts'
import { writeTar } from './tar.ts'

export interface Image {
  /** name:tag. */
  readonly name: string
  /** Lowest first. What changes seldom comes first: a layer that a node has already is not unpacked again. */
  readonly layers: readonly Layer[]
  readonly entrypoint: readonly string[]
  readonly command?: readonly string[]
  /** UID:GID; root when left out. */
  readonly user?: string
  readonly env?: Readonly<Record<string, string>>
  readonly workingFolder?: string
  readonly labels?: Readonly<Record<string, string>>
}

/** Writes the image and gives the size of its unpacked files, in bytes. */
export function writeImage(file: string, image: Image): number {
  const folder = path.dirname(path.resolve(file))
  mkdirSync(folder, { recursive: true })
  const work = mkdtempSync(path.join(tmpdir(), 'outrigger-image-'))
  try {
    const layers = image.layers.map((layer, index) => {
      const source = path.join(work, `${index}.tar`)
      return { source, ...writeTar(source, layer.entries) }
    })
    const config = JSON.stringify(configOf(image, layers))
    const configName = `${createHash('sha256').update(config).digest('hex')}.json`
    const manifest = [
      { Config: configName, RepoTags: [image.name], Layers: layers.map(({ sha256 }) => `${sha256}/layer.tar`) },
    ]
    const entries: Entry[] = [
      { kind: 'text', path: configName, mode: 0o644, text: config },
      ...layers.map(
        ({ sha256, source }): Entry => ({ kind: 'file', path: `${sha256}/layer.tar`, mode: 0o644, source }),
      ),
      { kind: 'text', path: 'manifest.json', mode: 0o644, text: JSON.stringify(manifest) },
    ]
    // Whoever reads the file meanwhile gets the old image or the new one.
    const unfinished = `${file}.${process.pid}.part`
    writeTar(unfinished, entries)
    renameSync(unfinished, file)
    return layers.reduce((sum, { bytes }) => sum + bytes, 0)
  } finally {
    rmSync(work, { recursive: true })
  }
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function configOf(image: Image, layers: readonly { readonly sha256: string }[]): object {
  return {
    architecture: architectures[process.arch] ?? process.arch,
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config: {
      Env: Object.entries({ PATH: searchPath, ...image.env }).map(([name, value]) => `${name}=${value}`),
      Entrypoint: image.entrypoint,
      ...(image.command === undefined ? {} : { Cmd: image.command }),
      WorkingDir: image.workingFolder ?? '/',
      User: image.user ?? '',
      Labels: image.labels ?? {},
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ sha256 }) => `sha256:${sha256}`) },
    history: layers.map(() => ({ created_by: 'outrigger' })),
  }
}
