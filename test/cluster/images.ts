/** Images of this tree for the tests: written when a source has changed, loaded when the node has another. */
import { createHash } from 'node:crypto'
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Image, writeImage } from '../../charts/image/archive.ts'
import { Layer } from '../../charts/image/layer.ts'
import { outriggerImage, systemLayer } from '../../charts/image/outrigger.ts'
import { run } from './command.ts'
import { imagesFolder, root, runFolder, script } from './state.ts'

/** Sidecar, init container and control plane. */
export const outrigger = 'localhost/outrigger:dev'
/** Node with the shop's services: `node apps/web.ts`, as the shop's Pods say it; also for clients in a pod. */
export const shop = 'localhost/outrigger-shop:dev'

interface Recipe {
  readonly file: string
  readonly sources: readonly string[]
  readonly make: (work: string) => Image
}

const common = ['charts/image/*.ts', 'package-lock.json']

const recipes: readonly Recipe[] = [
  {
    file: 'outrigger',
    sources: [...common, 'src/**/*', 'control-plane/**/*', 'package.json', 'tsconfig.json', 'test/build.ts'],
    make: (work) => outriggerImage(outrigger, work),
  },
  {
    file: 'outrigger-shop',
    sources: [...common, 'examples/shop/apps/*'],
    make: (work) => ({
      name: shop,
      layers: [systemLayer(work), new Layer().add(path.join(root, 'examples/shop/apps'), '/shop/apps')],
      entrypoint: ['/usr/bin/node'],
      user: '1000:1000',
      workingFolder: '/shop',
    }),
  },
]

/** Writes those of which a source has changed. `up` imports them; a node that runs gets them by `loadImages`. */
export function writeImages(): void {
  mkdirSync(imagesFolder, { recursive: true })
  for (const { file, sources, make } of recipes) {
    const key = keyOf(sources)
    if (read(path.join(imagesFolder, `${file}.key`)) === key) continue
    const work = mkdtempSync(path.join(tmpdir(), 'outrigger-build-'))
    try {
      const image = make(work)
      const bytes = writeImage(path.join(imagesFolder, `${file}.tar`), image)
      writeFileSync(path.join(imagesFolder, `${file}.key`), key)
      process.stderr.write(`image ${image.name}: ${(bytes / 1e6).toFixed(0)} MB\n`)
    } finally {
      rmSync(work, { recursive: true })
    }
  }
}

/** Puts into the running node what it does not have as it is now. */
export async function loadImages(): Promise<void> {
  const loaded = path.join(runFolder, 'loaded')
  mkdirSync(loaded, { recursive: true })
  for (const { file } of recipes) {
    const key = read(path.join(imagesFolder, `${file}.key`))
    if (key === undefined) throw new Error(`no image ${file} in ${imagesFolder}`)
    if (read(path.join(loaded, `${file}.key`)) === key) continue
    await run(script('load'), [path.join(imagesFolder, `${file}.tar`)])
    writeFileSync(path.join(loaded, `${file}.key`), key)
  }
}

/** Names the sources and the Node that goes in. */
function keyOf(patterns: readonly string[]): string {
  const hash = createHash('sha256')
  const node = statSync(process.execPath)
  hash.update(`${process.version} ${node.size} ${node.mtimeMs}\n`)
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root, withFileTypes: true }))
  const names = files.filter((file) => file.isFile()).map((file) => path.join(file.parentPath, file.name))
  for (const name of names.filter((one) => !one.endsWith('.test.ts')).sort()) {
    hash.update(`${path.relative(root, name)}\n`).update(readFileSync(name))
  }
  return hash.digest('hex')
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

if (process.argv[1] === import.meta.filename) {
  writeImages()
  if (process.argv.includes('--load')) await loadImages()
}
