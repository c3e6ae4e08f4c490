import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { readSource, type SourceText } from './source-text.ts'

/** static: loaded with the module. dynamic: loaded by `import()`. type: gone at run time. */
export type ImportKind = 'static' | 'dynamic' | 'type'

export interface Import {
  readonly kind: ImportKind
  /** Path from the root for our own files, else the package's name or `node:...`. */
  readonly to: string
}

/** A TypeScript file of ours. */
export interface Module {
  readonly path: string
  readonly text: string
  readonly source: SourceText
  readonly imports: readonly Import[]
  readonly isTest: boolean
}

const skipped = new Set(['node_modules', 'dist', '.git', '.outrigger'])

/** Our own tree, read once: paths from the root, with slashes. */
export class Tree {
  readonly root: string
  /** Text of every file. */
  readonly files: ReadonlyMap<string, string>
  readonly modules: ReadonlyMap<string, Module>

  private constructor(root: string, files: ReadonlyMap<string, string>, known?: Tree) {
    this.root = root
    this.files = files
    const modules = new Map<string, Module>()
    for (const [file, text] of files) {
      if (!file.endsWith('.ts')) continue
      const before = known?.modules.get(file)
      modules.set(file, before?.text === text ? before : readModule(file, text))
    }
    this.modules = modules
  }

  static read(root: string): Tree {
    const files = new Map<string, string>()
    const walk = (folder: string): void => {
      for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
        // Copies that the fuzz lane makes and removes.
        if (skipped.has(entry.name) || entry.name.startsWith('.mutant-')) continue
        const file = folder === '' ? entry.name : `${folder}/${entry.name}`
        if (entry.isDirectory()) walk(file)
        else if (entry.isFile() && !entry.name.endsWith('.log'))
          files.set(file, readFileSync(path.join(root, file), 'utf8'))
      }
    }
    walk('')
    return new Tree(root, files)
  }

  /** The same tree with some files written otherwise (undefined: not there). For tests of the checks. */
  with(changes: Readonly<Record<string, string | undefined>>): Tree {
    const files = new Map(this.files)
    for (const [file, text] of Object.entries(changes)) {
      if (text === undefined) files.delete(file)
      else files.set(file, text)
    }
    return new Tree(this.root, files, this)
  }

  /** Text of a file that must be there. */
  text(file: string): string {
    const text = this.files.get(file)
    if (text === undefined) throw new Error(`${file} is missing`)
    return text
  }

  /** True for a file, or a folder with files in it; also for what a build or an install makes. */
  has(place: string): boolean {
    const wanted = place.replace(/\/$/, '')
    if (this.files.has(wanted)) return true
    for (const file of this.files.keys()) if (file.startsWith(`${wanted}/`)) return true
    return existsSync(path.join(this.root, wanted))
  }
}

// `import type` and `export type` vanish; `import { type A }` does not (verbatimModuleSyntax keeps the import).
const staticImport =
  /^(?:import|export)(\s+type)?\b(?:(?:(?!\n(?:im|ex)port\b)[^'"`;()=])*?\bfrom)?\s*(['"])([^'"\n]+)\2/gm
const dynamicImport = /\bimport\(\s*(['"])([^'"\n]+)\1/g

function readModule(file: string, text: string): Module {
  const source = readSource(text)
  const imports: Import[] = []
  for (const match of source.code.matchAll(staticImport)) {
    if (source.bare[match.index] === ' ') continue
    imports.push({ kind: match[1] === undefined ? 'static' : 'type', to: resolve(file, match[3]!) })
  }
  for (const match of source.code.matchAll(dynamicImport)) {
    if (source.bare[match.index] !== ' ') imports.push({ kind: 'dynamic', to: resolve(file, match[2]!) })
  }
  return { path: file, text, source, imports, isTest: file.endsWith('.test.ts') }
}

function resolve(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return path.posix.join(path.posix.dirname(from), specifier)
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
