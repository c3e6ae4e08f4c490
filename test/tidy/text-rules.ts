/** Rules about single files: the clock, length, machines' names, layers, examples. */
import type { Problems } from './arrows.ts'
import type { Tree } from './tree.ts'

const clockFile = 'src/base/clock.ts'
const clockCalls =
  /(?<![.\w])(?:Date\.now|Math\.random|performance\.now|process\.hrtime|new Date\(\)|(?:globalThis\.)?set(?:Timeout|Interval))\b|from 'node:timers/g

/** Time and chance outside the Clock, in src and control-plane. */
export function clockProblems(tree: Tree): Problems {
  const problems: Problems = []
  for (const module of tree.modules.values()) {
    if (!/^(?:src|control-plane)\//.test(module.path) || module.isTest || module.path === clockFile) continue
    // The module specifier of an import is a string; the calls are not.
    const texts = [
      module.source.bare,
      ...module.imports.map(({ to }) => (to.startsWith('node:timers') ? "from 'node:timers" : '')),
    ]
    for (const text of texts) {
      for (const match of text.matchAll(clockCalls)) {
        const line = text.slice(0, match.index).split('\n').length
        problems.push(`${module.path}:${line} uses ${match[0]}: take a Clock (${clockFile}) as a parameter`)
      }
    }
  }
  return problems
}

const linesMax = 400
/** Longer all the same, each with its reason. */
const long = new Map([
  ['src/http1/server-connection.ts', 'one state machine'],
  ['src/http1/client-connection.ts', 'one state machine'],
  ['src/http2/session.ts', 'one state machine'],
])

/** Long files. A test is as long as its list of cases; what is generated nobody reads. */
export function longFiles(tree: Tree): Problems {
  const problems: Problems = []
  for (const module of tree.modules.values()) {
    const { path, text, isTest } = module
    const lines = text.split('\n').length - 1
    if (isTest || path.startsWith('src/api/gen/')) continue
    if (lines > linesMax && !long.has(path)) {
      problems.push(
        `${path} has ${lines} lines: which two nouns live there? If it is one, name it in test/tidy/text-rules.ts with the reason`,
      )
    }
    if (lines <= linesMax && long.has(path))
      problems.push(`${path} has ${lines} lines: take it off the list in test/tidy/text-rules.ts`)
  }
  return problems
}

const machineWords: readonly (readonly [RegExp, string])[] = [
  // Written so that these lines do not find themselves.
  [
    /\b(?:registry\.(?:npmjs|yarnpkg)|npmjs\.or[g]|pypi\.or[g]|pythonhoste[d]|ghcr\.i[o]|docker\.i[o]|quay\.i[o]|proxy\.golan[g]|deb\.debia[n]|artifactor[y])\b/i,
    'the host of a package registry: name the package, not where it comes from',
  ],
  [
    /(?<![\w.:/$}~-])\/(?:home|root|Users|work)\/[\w.-]/,
    "a path of somebody's machine: write it from the root of the repository",
  ],
]

/** Names of registries and of machines' folders, in any file. */
export function machineProblems(tree: Tree): Problems {
  const problems: Problems = []
  for (const [file, text] of tree.files) {
    for (const [word, what] of machineWords) {
      const match = word.exec(text)
      if (match !== null)
        problems.push(`${file}:${text.slice(0, match.index).split('\n').length} has '${match[0]}', ${what}`)
    }
  }
  return problems
}

/** Where the stacks are built. */
const stackFiles = ['src/policy/order.ts', 'src/outbound.ts', 'src/inbound.ts']

/** Layers of src/policy that no stack names. */
export function layerProblems(tree: Tree): Problems {
  const named = new Set(
    stackFiles.flatMap((file) => [...tree.modules.get(file)!.source.bare.matchAll(/\b\w+\b/g)].map(([word]) => word)),
  )
  const problems: Problems = []
  for (const module of tree.modules.values()) {
    if (!module.path.startsWith('src/policy/') || module.isTest) continue
    for (const match of module.source.bare.matchAll(
      /^export function (\w+)\([^{]*?\): (?:Try)?Layer(?: \| undefined)? \{/gm,
    )) {
      if (!named.has(match[1]!)) {
        problems.push(
          `${module.path}: the layer ${match[1]} stands in no stack: give it its place in ${stackFiles[0]}, with the reason`,
        )
      }
    }
  }
  return problems
}

/** Folders of examples that no test names. */
export function untestedExamples(tree: Tree): Problems {
  const folders = new Set<string>()
  for (const file of tree.files.keys()) {
    const match = /^examples\/(scenarios\/[^/]+|(?!scenarios\/)[^/]+)\//.exec(file)
    if (match !== null) folders.add(`examples/${match[1]}`)
  }
  const words = new Set<string>()
  for (const module of tree.modules.values()) {
    if (!module.path.startsWith('test/') || module.path.startsWith('test/tidy')) continue
    const { strings } = module.source
    // Only where examples are the subject: 'web' alone says nothing.
    const about = strings.some((text) => text === 'examples') || module.imports.some(({ to }) => to === exampleCopy)
    if (about) for (const text of strings) words.add(text)
  }
  return [...folders]
    .filter((folder) => !words.has(folder.slice(folder.lastIndexOf('/') + 1)))
    .map((folder) => `${folder}: no test runs it: add it to test/integration/scenarios.test.ts or up.test.ts`)
}

/** What copies examples/ for a test. */
const exampleCopy = 'test/support/shop.ts'
