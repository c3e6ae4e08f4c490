/**
 * `npm run build`: the programs as plain JavaScript in dist/, which start faster and need less memory than
 * the sources with their types. dist/src/cli/outrigger is the same command as src/cli/outrigger. The sidecar, which is
 * started with every Pod, comes with its packages in a few files: to find and compile 334 modules took half of its start.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = path.join(root, 'dist')

/** What the programs read or run and the compiler does not emit. */
const copied = [
  'package.json',
  'src/api/schema',
  'src/cli/outrigger',
  'src/cli/outrigger-node',
  'charts/outrigger',
  'charts/outrigger-crds',
]
const programs = ['src/cli/outrigger', 'src/cli/outrigger-node']

/**
 * Empties the folder and fills it. Throws when the compiler found an error, which it has printed by then; with
 * OUTRIGGER_BUILD_UNCHECKED=1, for work in progress, a type that does not fit is no reason to stop.
 */
export function build(folder: string = dist): void {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const file of copied) cpSync(path.join(root, file), path.join(folder, file), { recursive: true })
  for (const file of programs) chmodSync(path.join(folder, file), 0o755)
  compile(folder)
  bundleSidecar(folder)
}

/** The project's own settings, without tests. Comments go: V8 keeps the source text in memory. */
function compile(folder: string): void {
  const config = path.join(folder, 'tsconfig.json')
  const settings = {
    extends: path.join(root, 'tsconfig.json'),
    compilerOptions: {
      rootDir: root,
      outDir: '.',
      noEmit: false,
      removeComments: true,
      typeRoots: [path.join(root, 'node_modules/@types')],
    },
    include: [path.join(root, 'src'), path.join(root, 'control-plane')],
    exclude: [path.join(root, '**/*.test.ts')],
  }
  writeFileSync(config, JSON.stringify(settings))
  const tsc = path.join(root, 'node_modules/.bin/tsc')
  try {
    execFileSync(tsc, ['-p', config], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
  } catch (error) {
    if (process.env['OUTRIGGER_BUILD_UNCHECKED'] !== '1') throw error
  } finally {
    rmSync(config)
  }
}

/**
 * All in one folder, for chunks look beside themselves for thread.js. Not minified: what it says of an error is to be
 * read. Packages with machine code of their own stay where npm put them, and so do those of CommonJS that are loaded when they are
 * needed: in a bundle such an import has no names.
 */
function bundleSidecar(folder: string): void {
  const compiled = path.join(folder, 'src/main.js')
  const { metafile } = buildSync({
    absWorkingDir: folder,
    metafile: true,
    entryPoints: { main: compiled, thread: path.join(folder, 'src/workers/thread.js') },
    outdir: path.join(folder, 'sidecar'),
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node26',
    external: ['koffi', 'prom-client'],
    nodePaths: [path.join(root, 'node_modules')],
    legalComments: 'external',
    logLevel: 'warning',
    // Packages that are CommonJS ask for Node's own modules so.
    banner: {
      js: "import { createRequire as requireFor } from 'node:module'; const require = requireFor(import.meta.url);",
    },
  })
  for (const { imports } of Object.values(metafile.outputs)) {
    for (const { kind, path: to } of imports) {
      const exports = kind === 'dynamic-import' ? metafile.outputs[to]?.exports : undefined
      if (exports?.join() === 'default')
        throw new Error(`${to} is of CommonJS and loaded by import(): add its package to those outside of the bundle`)
    }
  }
  writeFileSync(compiled, "export * from '../sidecar/main.js'\n")
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    build()
  } catch (error) {
    process.stderr.write(`build: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
