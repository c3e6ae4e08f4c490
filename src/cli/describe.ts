import { type Command, Option } from 'commander'
import { closest } from '../api/documents/closest.ts'
import type { Document, DocumentOf } from '../api/documents/document.ts'
import { systemClock } from '../base/clock.ts'
import type { Message } from './analyze/message.ts'
import type { Subjects } from './analyze/subjects.ts'
import { addClusterOptions, type ClusterOptions } from './cluster/open.ts'
import { podNames } from './cluster/pods.ts'
import type { Description, Section } from './describe/describe.ts'
import { paint } from './table.ts'

interface DescribeOptions extends ClusterOptions {
  readonly file?: readonly string[]
  readonly output: 'text' | 'json'
}

/** Adds `outrigger describe`. */
export function registerDescribe(program: Command): void {
  const command: Command = program
    .command('describe')
    .summary('What holds for a Pod or a Service, and which document says so.')
    .argument('<pod-or-service>', 'NS/NAME, NAME.NS or NAME; pod/... or service/... where both are meant')
    .description(
      'What holds for a Pod or a Service, and which document says so: routes in their order, mTLS, who may call, faults,\n' +
        "breakers, retries, endpoints. Worked out by the control plane's own model, from the cluster or from files.",
    )
    .option('-f, --file <path...>', 'files or folders instead of the cluster')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
  addClusterOptions(command)
    .addHelpText(
      'after',
      '\nExamples:\n  outrigger describe service/orders -n shop\n  outrigger describe shop/web-7c9d8-x2x4v\n' +
        '  outrigger describe shop/orders -f examples/shop\n',
    )
    .action(async (word: string, options: DescribeOptions) => {
      const refuse = (message: string): never => command.error(`error: ${message}`, { exitCode: 2 })
      const descriptions = await describe(word, options, refuse)
      process.stdout.write(
        options.output === 'json' ? `${JSON.stringify(descriptions, null, 2)}\n` : descriptions.map(text).join('\n'),
      )
    })
}

async function describe(
  word: string,
  options: DescribeOptions,
  refuse: (message: string) => never,
): Promise<Description[]> {
  if (options.file !== undefined) {
    const [{ readPaths }, { readFiles }] = await Promise.all([
      import('./read-paths.ts'),
      import('./analyze/read-files.ts'),
    ])
    const files = await readPaths(options.file, refuse)
    const namespace = options.namespace ?? 'default'
    const subjects = readFiles(files, namespace, options.systemNamespace)
    const errors = subjects.problems.filter(({ severity }) => severity === 'error').length
    if (errors > 0)
      process.stderr.write(`${errors} errors in the files: what has one is left out ('outrigger validate')\n`)
    return describeAll(word, namespace, subjects, 'cluster.local')
  }
  const [{ withCluster }, { readCluster }, { readClusterTemplate }] = await Promise.all([
    import('./cluster/open.ts'),
    import('./analyze/read-cluster.ts'),
    import('./check/workloads.ts'),
  ])
  return withCluster(options, async (opened) => {
    const [subjects, template] = await Promise.all([readCluster(opened), readClusterTemplate(opened)])
    const trustDomain = template?.config.trustDomain ?? 'cluster.local'
    const found = await describeAll(word, opened.namespace, subjects, trustDomain)
    const { sidecarSection } = await import('./describe/sidecar-section.ts')
    const { asClusterPod } = await import('./cluster/pods.ts')
    return Promise.all(
      found.map(async (one) => {
        const subject = subjects.pods.find(({ namespace, name }) => one.of === `Pod ${namespace}/${name}`)
        if (subject === undefined) return one
        return { ...one, sections: [await sidecarSection(opened, asClusterPod(subject.pod)), ...one.sections] }
      }),
    )
  })
}

async function describeAll(
  word: string,
  namespace: string,
  subjects: Subjects,
  trustDomain: string,
): Promise<Description[]> {
  const [{ describePod, describeService }, { indexDocuments }, { meshModel }, { analyze }, { readTemplate }] =
    await Promise.all([
      import('./describe/describe.ts'),
      import('../../control-plane/model/document-index.ts'),
      import('../../control-plane/model/mesh-model.ts'),
      import('./analyze/analyze.ts'),
      import('./inject.ts'),
    ])
  const model = meshModel(indexDocuments(subjects.documents))
  const circumstances = { model, trustDomain, wallMs: systemClock.wall() }
  const template = await readTemplate({ set: [], systemNamespace: subjects.systemNamespace })
  const messages = analyze(subjects, { template, inForce: false }, new Set())
  return pick(word, namespace, subjects.documents).map((document) => {
    const one =
      document.kind === 'Service' ? describeService(document, circumstances) : describePod(document, circumstances)
    return { ...one, sections: [...one.sections, findings(one, messages)] }
  })
}

function findings({ of, holding }: Description, messages: readonly Message[]): Section {
  const own = messages.filter(({ object }) => object === of || holding.includes(object))
  const lines = own.map(({ severity, code, object, path, message }) => {
    const who = object === of ? '' : ` ${object}`
    return `${severity} ${code}${who}: ${path === '' ? '' : `${path}: `}${message}`
  })
  return { title: 'Findings', lines }
}

type Describable = DocumentOf<'Pod'> | DocumentOf<'Service'>

function isDescribable(document: Document): document is Describable {
  return document.kind === 'Pod' || document.kind === 'Service'
}

/** The Pod, the Service, or both. Throws an Error that names those that are close. */
function pick(word: string, namespace: string, documents: readonly Document[]): Describable[] {
  const [, prefix, bare = word] = /^(pods?|po|services?|svc)\/(.+)$/.exec(word) ?? []
  const kind = prefix === undefined ? undefined : prefix.startsWith('s') ? 'Service' : 'Pod'
  const all = documents.filter(isDescribable).filter((one) => kind === undefined || one.kind === kind)
  for (const name of podNames(bare, namespace)) {
    const found = all.filter((one) => one.namespace === name.namespace && one.name === name.name)
    if (found.length > 0) return found.toSorted((a, b) => (a.kind < b.kind ? 1 : -1))
  }
  const meant = podNames(bare, namespace)[0]!
  const names = all.filter((one) => one.namespace === meant.namespace).map(({ name }) => name)
  const near = names.find((name) => name.startsWith(`${meant.name}-`)) ?? closest(meant.name, names)
  const there =
    names.length === 0
      ? `; that namespace has none, choose another with -n`
      : `; there are: ${[...new Set(names)].slice(0, 10).join(', ')}`
  throw new Error(
    `no ${kind ?? 'Pod or Service'} ${meant.name} in namespace ${meant.namespace}${near === undefined ? there : `; did you mean ${near}?`}`,
  )
}

function text({ of, sections }: Description): string {
  const lines = sections
    .filter((section) => section.lines.length > 0)
    .flatMap((section) => [paint('bold', section.title), ...section.lines.map((line) => `  ${line}`)])
  return `${paint('bold', of)}\n\n${lines.join('\n')}\n`
}
