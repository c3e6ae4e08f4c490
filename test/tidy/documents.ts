/** What the READMEs must say, held against the code. A missing row is given as the line to write. */
import { parseAllDocuments } from 'yaml'
import { controlPlaneMetrics } from '../../control-plane/admin/metrics.ts'
import { errorCodes } from '../../src/base/errors.ts'
import { http1Limits } from '../../src/http1/limits.ts'
import { proxyFlags } from '../../src/options.ts'
import { metricList } from '../../src/telemetry/metrics.ts'
import { vectors } from '../attack/vectors.ts'
import type { Problems } from './arrows.ts'
import type { Tree } from './tree.ts'

/** A cell of a table; a bar in it is escaped. */
const cell = (text: string): string => text.replaceAll('|', '\\|')
const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`.replaceAll(/ +/g, ' ')

/** Lines of a README without the padding of tables. */
function linesOf(tree: Tree, file: string): Set<string> {
  return new Set(
    tree
      .text(file)
      .split('\n')
      .map((line) => line.trim().replaceAll(/ +/g, ' ')),
  )
}

/** Rows of a table as the code has them; more cells may follow in each. `ours` tells a line of this table. */
function rowProblems(tree: Tree, file: string, table: string, rows: readonly string[], ours: RegExp): Problems {
  const lines = [...linesOf(tree, file)].filter((line) => ours.test(line))
  return [
    ...rows
      .filter((start) => !lines.some((line) => line.startsWith(start)))
      .map((start) => `${file}: ${table}: write a line that begins: ${start}`),
    ...lines
      .filter((line) => !rows.some((start) => line.startsWith(start)))
      .map((line) => `${file}: ${table}: the code has no such line, correct or remove it: ${line}`),
  ]
}

/** src/README.md has each code of src/base/errors.ts with its traits, as one table. */
export function errorProblems(tree: Tree): Problems {
  const rows = Object.entries(errorCodes).map(([code, { source, retry, http, grpc, flag }]) =>
    row([`\`${code}\``, source, retry, String(http), String(grpc), flag]),
  )
  return rowProblems(
    tree,
    'src/README.md',
    'error codes (src/base/errors.ts)',
    rows,
    /^\| `[A-Z_]+` \| (?:downstream|upstream|policy|internal) \|/,
  )
}

/** src/README.md has each flag of the sidecar with its variable, default and meaning. */
export function flagProblems(tree: Tree): Problems {
  const rows = Object.entries(proxyFlags).map(([name, flag]) =>
    row([`\`--${name}\``, `\`${flag.env}\``, 'default' in flag ? `\`${flag.default}\`` : '', flag.help]),
  )
  return rowProblems(tree, 'src/README.md', 'flags (src/options.ts)', rows, /^\| `--/)
}

const environmentReads =
  /\b(?:env|environment)(?:\.|\[['"])([A-Z][A-Z0-9_]*)\b|\benv: '([A-Z][A-Z0-9_]*)'|'(OTEL_[A-Z_]+)'/g
const shellReads = /\$\{([A-Z][A-Z0-9_]*)\b/g
/** What every process has; we do not change what it means. */
const usual = new Set(['PATH'])

/** Every variable that src and control-plane read stands in src/README.md. */
export function environmentProblems(tree: Tree): Problems {
  const documented = tree.text('src/README.md')
  const problems: Problems = []
  const look = (file: string, text: string, reads: RegExp): void => {
    for (const match of text.matchAll(reads)) {
      const name = match[1] ?? match[2] ?? match[3]!
      if (!usual.has(name) && !documented.includes(`\`${name}\``)) {
        problems.push(`src/README.md: ${file} reads ${name}: say in the table of variables what it does`)
      }
    }
  }
  for (const module of tree.modules.values()) {
    if (/^(?:src|control-plane)\//.test(module.path) && !module.isTest)
      look(module.path, module.source.code, environmentReads)
  }
  for (const script of ['src/cli/outrigger', 'src/cli/outrigger-node']) look(script, tree.text(script), shellReads)
  return [...new Set(problems)]
}

/** control-plane/README.md has each metric of a control plane with its labels. */
export function controlPlaneMetricProblems(tree: Tree): Problems {
  const rows = Object.entries<{ readonly labels: readonly string[] }>(controlPlaneMetrics).map(([name, { labels }]) =>
    row([`\`${name}\``, labels.map((label) => `\`${label}\``).join(', ')]),
  )
  return rowProblems(
    tree,
    'control-plane/README.md',
    'metrics (control-plane/admin/metrics.ts)',
    rows.map((text) => text.replace(/\|\s+\|$/, '| |')),
    /^\| `outrigger_control_plane_/,
  )
}

/** src/telemetry/README.md has each metric with its labels' names. */
export function metricProblems(tree: Tree): Problems {
  const file = 'src/telemetry/README.md'
  const lines = tree.text(file).split('\n')
  const problems: Problems = []
  const names = new Set<string>()
  for (const { name, labels } of Object.values(metricList)) {
    names.add(name)
    const line = lines.find((text) => text.startsWith(`| \`${name}\` |`))
    if (line === undefined) {
      problems.push(`${file}: no row for the metric ${name} of src/telemetry/metrics.ts`)
      continue
    }
    for (const label of labels) {
      // The labels that most metrics share have one name of their own.
      const said =
        line.includes(`\`${label}\``) || (line.includes('peer labels') && tree.text(file).includes(`\`${label}\``))
      if (!said) problems.push(`${file}: the row of ${name} does not name its label ${label}`)
    }
  }
  for (const line of lines) {
    const name = /^\| `(outrigger_\w+)` \|/.exec(line)?.[1]
    if (name !== undefined && !names.has(name))
      problems.push(`${file}: src/telemetry/metrics.ts has no metric ${name}: remove its row`)
  }
  return problems
}

/** src/http1/README.md has each limit with its value, and each row of the attack list. */
export function engineProblems(tree: Tree): Problems {
  const file = 'src/http1/README.md'
  const lines = tree.text(file).split('\n')
  const problems: Problems = []
  for (const [name, value] of Object.entries(http1Limits)) {
    const start = row([`\`${name}\``, limitText(name, value)]).slice(0, -1)
    if (!lines.some((line) => line.startsWith(start)))
      problems.push(`${file}: limits (src/http1/limits.ts): write a row that begins ${start}`)
  }
  for (const number of new Set(vectors.map((vector) => vector.row))) {
    if (!lines.some((line) => line.startsWith(`| ${number} |`))) {
      problems.push(`${file}: rules: no line for row ${number} of test/attack/vectors.ts`)
    }
  }
  return problems
}

/** As people write it: `64 KiB`, `1,000`, `10 s`. */
function limitText(name: string, value: number): string {
  if (name.endsWith('BytesMax')) return `${value / 1024} KiB`
  if (name.endsWith('Ms')) return `${value / 1000} s`
  return value.toLocaleString('en')
}

interface Schema {
  readonly title?: string
  readonly const?: string
  readonly description?: string
  /** Of a field that the mesh does not have. */
  readonly not?: object
  readonly properties?: Readonly<Record<string, Schema>>
}

/** Each of our kinds, and each field of its spec, is explained in the policy docs and shown in examples/. */
export function policyProblems(tree: Tree): Problems {
  const file = 'src/api/policy/README.md'
  const lines = tree.text(file).split('\n')
  const shown = shownFields(tree)
  const problems: Problems = []
  for (const [path, text] of tree.files) {
    if (!/^src\/api\/schema\/(?!document)[\w-]+\.json$/.test(path)) continue
    const { title: kind = path, properties: parts = {} } = JSON.parse(text) as Schema
    const isOurs = parts['apiVersion']?.const?.startsWith('outrigger.dev/') === true || kind.endsWith('Route')
    if (!isOurs) continue
    const about = lines.filter((line) => line.includes(`\`${kind}\``))
    if (about.length === 0) problems.push(`${file}: say what the kind ${kind} is for`)
    for (const [field, { not, description }] of Object.entries(parts['spec']?.properties ?? {})) {
      if (not !== undefined) continue
      if (!about.some((line) => line.includes(`\`${field}\``))) {
        problems.push(`${file}: a line with \`${kind}\` must name its field \`${field}\``)
      }
      // What all kinds share is shown by one; what the mesh ignores, by none.
      const isShown =
        field === 'mode' ? [...shown].some((name) => name.endsWith('.mode')) : shown.has(`${kind}.${field}`)
      if (!isShown && description?.includes('ignored for') !== true) {
        problems.push(`examples/: no ${kind} shows spec.${field}: add it where it makes sense`)
      }
    }
  }
  return problems
}

/** `Kind.field` of every spec in the YAML of examples/. */
function shownFields(tree: Tree): ReadonlySet<string> {
  const shown = new Set<string>()
  for (const [file, text] of tree.files) {
    if (!/^examples\/.*\.ya?ml$/.test(file)) continue
    for (const document of parseAllDocuments(text)) {
      const value = (document as { toJS?: () => unknown }).toJS?.() as
        | { kind?: string; spec?: object }
        | null
        | undefined
      for (const field of Object.keys(value?.spec ?? {})) shown.add(`${value?.kind}.${field}`)
    }
  }
  return shown
}

/** Relative links of Markdown files, and paths of ours that they name in `code`, lead somewhere. */
export function linkProblems(tree: Tree): Problems {
  const problems: Problems = []
  for (const [file, text] of tree.files) {
    if (!file.endsWith('.md')) continue
    const folder = file.includes('/') ? `${file.slice(0, file.lastIndexOf('/'))}/` : ''
    const prose = text.replaceAll(/```[\s\S]*?```/g, '')
    for (const match of prose.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)) {
      const place = new URL(match[1]!, `file:///${folder}`).pathname.slice(1)
      if (!tree.has(place)) problems.push(`${file}: the link ${match[1]} leads nowhere`)
    }
    for (const match of prose.matchAll(/`((?:src|control-plane|test|examples|\.github|\.ci)\/[^`\s]+)`/g)) {
      const place = match[1]!.replace(/[:#].*$/, '')
      // A pattern or a placeholder is no path.
      if (/[*{}<>]|[A-Z]{3,}(?!.*\.md)|\.\.\./.test(place)) continue
      if (!tree.has(place)) problems.push(`${file}: there is no ${place}`)
    }
  }
  return problems
}

/** The paths of the table "Where do I add ..." of src/README.md. */
export function whereProblems(tree: Tree): Problems {
  const file = 'src/README.md'
  const section = /^## Where do I add[^\n]*\n([\s\S]*?)(?=^## |(?![\s\S]))/m.exec(tree.text(file))?.[1]
  if (section === undefined) return [`${file}: no section '## Where do I add ...'`]
  const paths = [...section.matchAll(/`([\w.-]+\/[\w./-]*)`/g)].map((match) => match[1]!)
  const problems = paths
    .filter((place) => !tree.has(place))
    .map((place) => `${file}: 'Where do I add ...' names ${place}, which is not there`)
  for (const what of ['layer', 'source', 'picker', 'policy kind', 'metric', 'command', 'scenario']) {
    if (!new RegExp(`^\\| .*\\b${what}\\b`, 'm').test(section))
      problems.push(`${file}: 'Where do I add ...' has no row for a ${what}`)
  }
  return problems
}
