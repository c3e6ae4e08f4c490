import { type Command, Option } from 'commander'
import type { Document } from '../api/documents/document.ts'
import type { LoadedDocuments, SourceFile } from '../api/documents/load-documents.ts'
import type { Problem } from '../api/documents/problem.ts'
import { readPaths, textOf } from './read-paths.ts'

/** What `outrigger validate` found. */
export interface Validation {
  readonly files: readonly SourceFile[]
  readonly documents: readonly Document[]
  readonly problems: readonly Problem[]
}

interface ValidateOptions {
  readonly file: readonly string[]
  readonly output: 'text' | 'json'
}

/** Adds `outrigger validate`: exit code 0 in order (warnings too), 1 there are errors, 2 wrong command line. */
export function registerValidate(program: Command): void {
  const command: Command = program
    .command('validate')
    .description(
      'Check policy files without running anything: every problem at once, with its place.\n' +
        'A later path replaces the documents of an earlier one that have the same kind, namespace and name.',
    )
    .requiredOption('-f, --file <path...>', "files or folders of YAML or JSON; '-' is standard input")
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      '\nExamples:\n  outrigger validate -f examples/shop\n  kubectl get httproutes,grpcroutes -o yaml | outrigger validate -f -\n' +
        '  outrigger validate -f examples/shop -o json\n\nExit codes: 0 in order, 1 errors, 2 wrong command line.\n',
    )
    .action(async ({ file, output }: ValidateOptions) => {
      const validation = await validate(file, (message) => command.error(`error: ${message}`, { exitCode: 2 }))
      if (output === 'json') process.stdout.write(`${jsonReport(validation)}\n`)
      else await writeReport(validation)
      if (errorCount(validation) > 0) process.exitCode = 1
    })
}

/** Reads and checks all paths. `refuse` ends the command for a path that cannot be read. */
export async function validate(paths: readonly string[], refuse: (message: string) => never): Promise<Validation> {
  const [{ loadDocuments }, { checkModel }] = await Promise.all([
    import('../api/documents/load-documents.ts'),
    import('../../control-plane/model/check.ts'),
  ])
  const files: SourceFile[] = []
  const problems: Problem[] = []
  const loads: LoadedDocuments[] = []
  const byKey = new Map<string, Document>()
  for (const path of paths) {
    const read = await readPaths([path], refuse)
    files.push(...read)
    const loaded = loadDocuments(read)
    loads.push(loaded)
    problems.push(...loaded.problems)
    for (const document of loaded.documents) {
      byKey.set(`${document.kind}/${document.namespace}/${document.name}`, document)
    }
  }
  const documents = [...byKey.values()]
  problems.push(...checkModel(documents).filter((problem) => !mayFollow(problem, loads)))
  return { files, documents, problems: inFileOrder(problems, files) }
}

// What the model misses because a document that has an error of its own was left out.
const byName = new Set(['dangling-reference', 'missing-port'])
const bySelection = new Set(['dangling-reference', 'missing-port', 'selects-nothing', 'no-effect'])

/** What was left out for an error of its own. */
interface Refused {
  readonly refused: readonly { readonly namespace: string; readonly name: string }[]
  readonly unidentified: boolean
}

/** Whether the problem may be gone once the documents that were refused are in order. */
export function mayFollow({ code, message }: Problem, loads: readonly Refused[]): boolean {
  const refused = loads.flatMap((load) => load.refused)
  if (loads.some(({ unidentified }) => unidentified)) return bySelection.has(code)
  if (byName.has(code)) return refused.some(({ namespace, name }) => message.includes(`${namespace}/${name}`))
  return bySelection.has(code) && refused.length > 0
}

function inFileOrder(problems: readonly Problem[], files: readonly SourceFile[]): Problem[] {
  const order = new Map(files.map(({ path }, at) => [path, at]))
  const at = ({ file }: Problem) => order.get(file) ?? files.length
  return problems.toSorted((a, b) => at(a) - at(b) || a.line - b.line || a.column - b.column)
}

function errorCount({ problems }: Validation): number {
  return problems.filter(({ severity }) => severity === 'error').length
}

function jsonReport(validation: Validation): string {
  const { files, documents, problems } = validation
  return JSON.stringify(
    { files: files.length, documents: documents.length, errors: errorCount(validation), problems },
    null,
    2,
  )
}

async function writeReport(validation: Validation): Promise<void> {
  const { formatProblem } = await import('../api/documents/format-problem.ts')
  const { files, documents, problems } = validation
  const onTerminal = process.stdout.isTTY === true
  const texts = new Map(onTerminal ? files.map((file) => [file.path, textOf(file)]) : [])
  const colors = onTerminal && process.stdout.hasColors() && !process.env['NO_COLOR']
  for (const problem of problems) {
    process.stdout.write(`${formatProblem(problem, { text: texts.get(problem.file), colors })}\n`)
  }
  const errors = errorCount(validation)
  const found = `${plural(errors, 'error')}, ${plural(problems.length - errors, 'warning')}`
  const left = errors > 0 ? ' in order' : ''
  process.stderr.write(`${plural(documents.length, 'document')}${left} in ${plural(files.length, 'file')}: ${found}\n`)
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
