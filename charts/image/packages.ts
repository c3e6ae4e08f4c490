/** The npm packages that the programs need at run time, read from package-lock.json: the closure of `dependencies`. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

interface Locked {
  readonly os?: readonly string[]
  readonly cpu?: readonly string[]
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/**
 * Their folders, from the root: `node_modules/zod`. One that is not installed is an error. Of the optional ones those that
 * are native code for this platform; the others are for another runtime than Node.
 */
export function productionPackages(root: string): string[] {
  const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Locked>>
  }
  const found = new Set<string>()
  const walk = (from: string, names: readonly string[], optional: boolean): void => {
    for (const name of names) {
      const folder = resolve(lock.packages, from, name)
      const isInstalled = folder !== undefined && existsSync(path.join(root, folder, 'package.json'))
      if (optional && !(isInstalled && isNative(lock.packages[folder]!))) continue
      if (!isInstalled) {
        throw new Error(`${name}, which ${from || 'package.json'} needs, is not installed: run npm ci`)
      }
      if (found.has(folder)) continue
      found.add(folder)
      const { dependencies = {}, optionalDependencies = {} } = lock.packages[folder]!
      // npm lists an optional dependency under both.
      walk(
        folder,
        Object.keys(dependencies).filter((one) => !(one in optionalDependencies)),
        false,
      )
      walk(folder, Object.keys(optionalDependencies), true)
    }
  }
  // Not the optional ones of the root: they are Node itself, which has a place of its own in the image.
  walk('', Object.keys(lock.packages['']?.dependencies ?? {}), false)
  return [...found].sort()
}

/** Such packages come once for each platform, and npm installs the one that fits. */
function isNative(one: Locked): boolean {
  return one.os !== undefined || one.cpu !== undefined
}

/** As Node does it: the nearest node_modules above. */
function resolve(packages: Readonly<Record<string, Locked>>, from: string, name: string): string | undefined {
  for (let folder = from; ; ) {
    const candidate = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`
    if (packages[candidate] !== undefined) return candidate
    if (folder === '') return undefined
    const cut = folder.lastIndexOf('/node_modules/')
    folder = cut === -1 ? '' : folder.slice(0, cut)
  }
}

/** What a package carries for people, for compilers and for other runtimes, and Node does not load. Licences stay. */
const useless =
  /(?:\.map|\.d\.[cm]?ts|\.[cm]?ts|\.md|\.markdown|\.flow|\.tsbuildinfo|\.h|\.cc?|\.cpp|\.hh|\.gyp|CMakeLists\.txt|\.cmake|\.yml|\.editorconfig|\.bare)$/i
/** At a package's top. */
const uselessFolder = /^(?:tests?|__tests__|docs?|examples?|benchmarks?|bench|coverage|\.github|\.bin)$/i

/** For a file of a package, by its path below the package's folder. */
export function isNeeded(file: string, isFolder: boolean): boolean {
  const name = file.slice(file.lastIndexOf('/') + 1)
  // Packages in packages have an entry of their own. Node's binary here is for glibc.
  if (isFolder) return !/^(?:node_modules|musl_.*)$/.test(name) && !(name === file && uselessFolder.test(name))
  return /^(?:licen[cs]e|notice|copying)/i.test(name) || !useless.test(name)
}
