/** Who may import whom (the design's arrows), cycles, what the sidecar loads, files that nobody uses. */
import type { Import, Module, Tree } from './tree.ts'

/** One line for each offence: the file, what is wrong, what to do. */
export type Problems = string[]

const loaded = (one: Import): boolean => one.kind !== 'type'

interface Arrow {
  /** Files that it is about. */
  readonly from: RegExp
  /** What they may not load at run time. */
  readonly not: RegExp
  readonly remedy: string
}

const arrows: readonly Arrow[] = [
  {
    from: /^control-plane\//,
    not: /^(?:src\/(?!api\/|base\/)|test\/|examples\/)/,
    remedy:
      'control-plane imports src/api and src/base only: move what both need to src/base, or pass it as a parameter',
  },
  {
    from: /^src\/(?!cli\/)/,
    not: /^(?:control-plane|test|examples)\//,
    remedy: 'the sidecar does not know the control plane: what both need belongs to src/api or src/base',
  },
  {
    from: /^(?!src\/cli\/)/,
    not: /^src\/cli\//,
    remedy: 'nothing imports src/cli: move what is shared out of it',
  },
  {
    from: /^src\/(?:http1|http2|tcp)\//,
    not: /^src\/(?:policy|route|telemetry)\//,
    remedy:
      'engines know no policy, route or telemetry: take it as a parameter, or put it on the exchange (src/base/exchange.ts)',
  },
  {
    from: /^src\/base\//,
    not: /^src\/(?!base\/)/,
    remedy: 'src/base stands on nothing: move the file up, or the import down',
  },
]

/** Imports against the arrows. Types and tests are free. */
export function arrowProblems(tree: Tree): Problems {
  const problems: Problems = []
  for (const module of tree.modules.values()) {
    if (module.isTest || module.path.startsWith('test/')) continue
    for (const { to } of module.imports.filter(loaded)) {
      for (const arrow of arrows) {
        if (arrow.from.test(module.path) && arrow.not.test(to)) {
          problems.push(`${module.path} imports ${to}: ${arrow.remedy}`)
        }
      }
    }
  }
  return problems
}

/** Imports that lead nowhere. */
export function missingImports(tree: Tree): Problems {
  return [...tree.modules.values()].flatMap((module) =>
    module.imports
      .filter(({ to }) => /^(?:src|control-plane|test|examples)\//.test(to) && !tree.files.has(to))
      .map(({ to }) => `${module.path} imports ${to}, which is not there`),
  )
}

/** Cycles of imports that are loaded: whichever file comes first sees the other half made. */
export function cycles(tree: Tree): Problems {
  const problems: Problems = []
  const state = new Map<string, 'open' | 'done'>()
  const walk = (module: Module, trail: readonly string[]): void => {
    state.set(module.path, 'open')
    const here = [...trail, module.path]
    for (const { to } of module.imports.filter(loaded)) {
      const next = tree.modules.get(to)
      if (next === undefined || state.get(to) === 'done') continue
      if (state.get(to) === 'open') {
        problems.push(
          `${[...here.slice(here.indexOf(to)), to].join(' > ')} is a cycle: move what two of them share to a file of its own`,
        )
      } else {
        walk(next, here)
      }
    }
    state.set(module.path, 'done')
  }
  for (const module of tree.modules.values()) if (!state.has(module.path)) walk(module, [])
  return problems
}

/** Packages and folders that would cost the sidecar memory or start-up time, or that it has no use for. */
const heavy =
  /^(?:zod|yaml|commander|prom-client|@kubernetes\/.*|@opentelemetry\/(?:sdk|exporter|resources|core).*|src\/cli\/.*|src\/api\/(?:policy|documents|schema)\/.*)$/

/** What src/main.ts loads before anything is asked of it. */
export function sidecarProblems(tree: Tree): Problems {
  const { via } = reach(tree, ['src/main.ts'], ({ kind }) => kind === 'static')
  const problems: Problems = []
  for (const [to, from] of via) {
    if (heavy.test(to))
      problems.push(`${from} loads ${to} in every sidecar: use 'import type', or 'await import()' where it is needed`)
  }
  return problems
}

/** Everything that is reached from `roots`, each with the file that imports it. */
function reach(
  tree: Tree,
  roots: readonly string[],
  follow: (one: Import) => boolean,
  more: (module: Module) => readonly string[] = () => [],
): { readonly via: ReadonlyMap<string, string> } {
  const via = new Map<string, string>(roots.map((root) => [root, 'an entry point']))
  const queue = [...roots]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    const module = tree.modules.get(file)
    if (module === undefined) continue
    for (const to of [...module.imports.filter(follow).map((one) => one.to), ...more(module)]) {
      if (via.has(to)) continue
      via.set(to, file)
      queue.push(to)
    }
  }
  return { via }
}

/** What the command starts. */
const command = 'src/cli/main.ts'

/** Files that no program reaches; a test alone does not make a file of src or control-plane useful. */
export function unusedFiles(tree: Tree): Problems {
  const scripts = [...tree.text('package.json').matchAll(/[\w./-]+\.ts\b/g)].map(([file]) => file)
  const files = [...tree.files.keys()]
  const apps = files.filter((file) => /^examples\/.*\.ya?ml$/.test(file)).flatMap((file) => startedBy(tree, file))
  // What a README tells a person to run.
  const byHand = files
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) => [...tree.text(file).matchAll(/outrigger-node ([\w./-]+\.ts)\b/g)].map((match) => match[1]!))
  const roots = [command, ...scripts, ...apps, ...byHand]
  const byPrograms = reach(
    tree,
    roots,
    () => true,
    (module) => namedPrograms(tree, module),
  ).via
  const tests = [...tree.modules.values()].filter((module) => module.isTest).map((module) => module.path)
  const byTests = reach(
    tree,
    [...roots, ...tests],
    () => true,
    (module) => namedPrograms(tree, module),
  ).via
  const packages = new Set([...tree.modules.values()].flatMap((module) => module.imports.map(({ to }) => to)))
  const problems: Problems = []
  for (const module of tree.modules.values()) {
    const { path } = module
    if (path.endsWith('.d.ts')) {
      const declared = [...module.text.matchAll(/declare module '([^']+)'/g)].map((match) => match[1]!)
      if (!declared.some((name) => packages.has(name))) problems.push(`${path} declares what nobody imports: remove it`)
    } else if (path.startsWith('test/') ? !byTests.has(path) : !module.isTest && !byPrograms.has(path)) {
      const only = byTests.get(path)
      problems.push(
        only === undefined
          ? `${path} is used by nobody: remove it, or name it where it is used`
          : `${path} is used by tests only (${only}): remove it, or move it to test/support`,
      )
    }
  }
  return problems
}

/** Programs that a module names in a string, to start them: by their path from the root, or from its own folder down. */
function namedPrograms(tree: Tree, module: Module): string[] {
  const folder = module.path.slice(0, module.path.lastIndexOf('/') + 1)
  const found: string[] = []
  // The tidy test names files only to find them.
  if (module.path.startsWith('test/tidy')) return found
  for (const text of module.source.strings) {
    if (!text.endsWith('.ts')) continue
    const name = text.replace(/^[./]+/, '')
    for (const file of tree.modules.keys()) {
      if (file === name || (file.startsWith(folder) && file.endsWith(`/${name}`))) found.push(file)
    }
  }
  return found
}

/** Programs that the Pods of a document start. */
function startedBy(tree: Tree, file: string): string[] {
  const folder = file.slice(0, file.lastIndexOf('/'))
  // In a cluster the programs of the shop come in by a ConfigMap.
  const programs = folder === 'examples/kubernetes' ? 'examples/shop' : folder
  return [...tree.text(file).matchAll(/command: \[.*?([\w./-]+\.ts)\b/g)].map((match) => `${programs}/${match[1]}`)
}
