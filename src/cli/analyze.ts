import { type Command, Option } from 'commander'
import { codes } from './analyze/codes.ts'
import type { Message } from './analyze/message.ts'
import { addClusterOptions, type ClusterOptions } from './cluster/open.ts'
import { paint, renderTable } from './table.ts'

type Output = 'text' | 'json' | 'sarif'
type FailOn = 'error' | 'warning' | 'info' | 'never'

interface AnalyzeOptions extends ClusterOptions {
  readonly file?: readonly string[]
  readonly output: Output
  readonly failOn: FailOn
  readonly suppress?: readonly string[]
  readonly listCodes?: true
}

/** Adds `outrigger analyze`: exit code 0 nothing at or above --fail-on, 1 something, 2 wrong command line. */
export function registerAnalyze(program: Command): void {
  const command: Command = program
    .command('analyze')
    .description(
      'What is wrong, or probably not meant, in files or in a cluster: documents, references, labels, annotations, ports.\n' +
        'Each finding has a code; --list-codes lists them.',
    )
    .option('-f, --file <path...>', "files or folders of YAML or JSON instead of the cluster; '-' is standard input")
    .addOption(
      new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json', 'sarif']).default('text'),
    )
    .addOption(
      new Option('--fail-on <severity>', 'exit code 1 from this severity on')
        .choices(['error', 'warning', 'info', 'never'])
        .default('error'),
    )
    .option('--suppress <code...>', 'leave out these codes')
    .option('--list-codes', 'list the codes and what they mean')
  addClusterOptions(command)
    .addHelpText(
      'after',
      `
One object is left out of a code by its annotation: outrigger.dev/suppress: ORG3008[,ORG2012]

Examples:
  outrigger analyze -f deploy/ --fail-on warning
  outrigger analyze -f deploy/ -o sarif > analyze.sarif
  outrigger analyze -n shop
  outrigger analyze --list-codes

Exit codes: 0 nothing of --fail-on or above, 1 something is, 2 wrong command line.
`,
    )
    .action(async (options: AnalyzeOptions) => {
      const refuse = (message: string): never => command.error(`error: ${message}`, { exitCode: 2 })
      if (options.listCodes) return void process.stdout.write(codeList(options.output))
      const unknown = options.suppress?.find((code) => !Object.values(codes).some(({ id }) => id === code))
      if (unknown !== undefined) refuse(`--suppress: there is no code ${unknown} ('outrigger analyze --list-codes')`)
      const all = await find(options, refuse)
      const messages =
        options.file === undefined && options.namespace !== undefined
          ? all.filter((one) => isIn(one, options.namespace!))
          : all
      await write(messages, options.output)
      if (messages.some(({ severity }) => rank[severity] >= rank[options.failOn])) process.exitCode = 1
    })
}

const rank: Readonly<Record<FailOn, number>> = { info: 0, warning: 1, error: 2, never: 3 }

async function find(options: AnalyzeOptions, refuse: (message: string) => never): Promise<Message[]> {
  const { analyze } = await import('./analyze/analyze.ts')
  const suppress = new Set(options.suppress)
  const { readTemplate } = await import('./inject.ts')
  const defaults = await readTemplate({ set: [], systemNamespace: options.systemNamespace })
  if (options.file !== undefined) {
    const [{ readPaths }, { readFiles }] = await Promise.all([
      import('./read-paths.ts'),
      import('./analyze/read-files.ts'),
    ])
    const files = await readPaths(options.file, refuse)
    const subjects = readFiles(files, options.namespace ?? 'default', options.systemNamespace)
    return analyze(subjects, { template: defaults, inForce: false }, suppress)
  }
  const [{ withCluster }, { readCluster }, { readClusterTemplate }] = await Promise.all([
    import('./cluster/open.ts'),
    import('./analyze/read-cluster.ts'),
    import('./check/workloads.ts'),
  ])
  return withCluster(options, async (opened) => {
    process.stderr.write(`reading ${opened.name}\n`)
    const [subjects, template] = await Promise.all([readCluster(opened), readClusterTemplate(opened)])
    return analyze(subjects, { template: template ?? defaults, inForce: template !== undefined }, suppress)
  })
}

function isIn({ object }: Message, namespace: string): boolean {
  const [kind, name = ''] = object.split(' ')
  return kind === 'Namespace' ? name === namespace : name.startsWith(`${namespace}/`)
}

async function write(messages: readonly Message[], output: Output): Promise<void> {
  const count = (severity: Message['severity']): number => messages.filter((one) => one.severity === severity).length
  if (output === 'sarif') {
    const { sarif } = await import('./analyze/sarif.ts')
    process.stdout.write(`${JSON.stringify(sarif(messages), null, 2)}\n`)
  } else if (output === 'json') {
    const counts = { errors: count('error'), warnings: count('warning'), infos: count('info') }
    process.stdout.write(`${JSON.stringify({ ...counts, messages }, null, 2)}\n`)
  } else for (const message of messages) process.stdout.write(`${messageText(message)}\n`)
  process.stderr.write(`${count('error')} errors, ${count('warning')} warnings, ${count('info')} notes\n`)
}

function messageText({ code, severity, object, file, line, column, path, message }: Message): string {
  const colour = { error: 'red', warning: 'yellow', info: 'cyan' } as const
  const where = line === 0 ? '' : ` (${file}:${line}:${column})`
  const who = object === '' ? file : object
  return `${paint(colour[severity], severity)} ${code} ${who}${where}: ${path === '' ? '' : `${path}: `}${message}`
}

function codeList(output: Output): string {
  const rows = Object.entries(codes)
  if (output === 'json')
    return `${JSON.stringify(
      rows.map(([name, code]) => ({ name, ...code })),
      null,
      2,
    )}\n`
  const table = renderTable(
    [{ title: 'CODE' }, { title: 'SEVERITY' }, { title: 'NAME' }, { title: 'MEANING' }],
    rows.map(([name, { id, severity, meaning }]) => [id, severity, name, meaning]),
  )
  return `${table}\n`
}
