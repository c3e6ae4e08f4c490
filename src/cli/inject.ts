import { type Command, InvalidArgumentError } from 'commander'
import type { Document } from 'yaml'
import type { InjectionTemplate } from '../../control-plane/inject/template.ts'
import type { SourceFile } from '../api/documents/load-documents.ts'
import { inSystem, marks } from '../base/kubernetes-names.ts'
import { version } from './version.ts'

interface InjectOptions {
  readonly file: readonly string[]
  readonly config?: string
  readonly set: readonly Setting[]
  readonly namespace: string
  readonly systemNamespace: string
}

/** `--set injector.logLevel=debug` */
export interface Setting {
  readonly path: readonly string[]
  readonly value: string
}

/** One line for people, about one object. */
export interface InjectNote {
  readonly is: 'refused' | 'skipped' | 'warning'
  readonly text: string
}

export interface InjectedText {
  readonly text: string
  readonly notes: readonly InjectNote[]
  readonly injected: number
}

/** Adds `outrigger inject`: what the webhook does, without a cluster. */
export function registerInject(program: Command): void {
  const command: Command = program
    .command('inject')
    .description(
      'Add the sidecar to Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs, without a cluster.\n' +
        'The result is what the webhook would make of them; everything else in the files stays as it is written.',
    )
    .requiredOption('-f, --file <path...>', "files or folders of YAML or JSON; '-' is standard input")
    .option('-n, --namespace <name>', 'namespace of objects that name none', 'default')
    .option('--config <file>', "the control plane's settings: key config.yaml of the ConfigMap outrigger-config")
    .option(
      '--set <path=value>',
      'one setting, over those of --config; may be repeated',
      (text: string, before: readonly Setting[]) => [...before, setting(text)],
      [],
    )
    .option('--system-namespace <name>', 'namespace of the control plane', inSystem.namespace)
    .addHelpText(
      'after',
      `
An object whose label outrigger.dev/inject says no is left alone, and standard error says why. When one is refused
nothing is written: a Pod without its sidecar would bypass the mesh.

Examples:
  outrigger inject -f deployment.yaml | kubectl apply -f -
  outrigger inject -f app/ --set injector.image=outrigger:0.1.0 --set tracing.otlpEndpoint=http://jaeger:4318
  kubectl -n outrigger-system get configmap outrigger-config -o jsonpath='{.data.config\\.yaml}' > mesh.yaml
  outrigger inject -f app.yaml --config mesh.yaml

Exit codes: 0 well, 1 an object was refused or a file is not in order, 2 wrong command line.
`,
    )
    .action(async (options: InjectOptions) => {
      const { readPaths } = await import('./read-paths.ts')
      const refuse = (message: string): never => command.error(`error: ${message}`, { exitCode: 2 })
      const files = await readPaths(options.file, refuse)
      const template = await readTemplate(options)
      const { text, notes, injected } = await injectFiles(files, options.namespace, template)
      for (const note of notes) process.stderr.write(`${note.text}\n`)
      if (notes.some(({ is }) => is === 'refused')) {
        process.stderr.write('nothing is written\n')
        process.exitCode = 1
        return
      }
      process.stdout.write(text)
      if (injected === 0) process.stderr.write('nothing to inject: no Pod template here that the mesh takes\n')
    })
}

/** Rewrites every Pod template of some files; the result is one text. */
export async function injectFiles(
  files: readonly SourceFile[],
  namespace: string,
  template: InjectionTemplate,
): Promise<InjectedText> {
  const [{ parseAllDocuments, LineCounter }, { yamlReading }, { textOf }, { namespaceLabelsOf }] = await Promise.all([
    import('yaml'),
    import('./manifests/edit-yaml.ts'),
    import('./read-paths.ts'),
    import('./manifests/namespace-labels.ts'),
  ])
  const notes: InjectNote[] = []
  const read = files.map((file) => {
    const text = textOf(file)
    const lines = new LineCounter()
    const parsed = parseAllDocuments(text, { ...yamlReading, lineCounter: lines })
    const documents = (Array.isArray(parsed) ? parsed : []) as Document.Parsed[]
    for (const { errors } of documents) {
      for (const error of errors.slice(0, 1)) {
        const { line, col } = lines.linePos(error.pos[0])
        notes.push({ is: 'refused', text: `${file.path}:${line}:${col}: error: ${error.message.split('\n')[0]}` })
      }
    }
    return { path: file.path, text, lines, documents: documents.filter(({ errors }) => errors.length === 0) }
  })
  // A file that names the Namespace as well says what the cluster will say.
  const labels = namespaceLabelsOf(
    read.flatMap(({ documents }) => documents.map((document) => document.toJS() as unknown)),
  )
  let injected = 0
  const texts: string[] = []
  for (const { path, text, lines, documents } of read) {
    let rest = 0
    let out = ''
    for (const document of documents) {
      const [from, , to] = document.range
      const place = (offset: number): string => {
        const { line, col } = lines.linePos(offset)
        return `${path}:${line}:${col}`
      }
      const result = await injectDocument(document, { text, from, to, namespace, labels, template, place })
      notes.push(...result.notes)
      injected += result.injected
      out += text.slice(rest, from) + (result.text ?? text.slice(from, to))
      rest = to
    }
    texts.push(out + text.slice(rest))
  }
  return { text: joined(texts), notes, injected }
}

interface DocumentContext {
  readonly text: string
  readonly from: number
  readonly to: number
  readonly namespace: string
  readonly labels: ReadonlyMap<string, Readonly<Record<string, string>>>
  readonly template: InjectionTemplate
  readonly place: (offset: number) => string
}

async function injectDocument(
  document: Document.Parsed,
  { text, from, to, namespace, labels, template, place }: DocumentContext,
): Promise<{ text?: string; notes: InjectNote[]; injected: number }> {
  const [{ injectPod }, { podTemplates }, { editYaml }, { offsetAt }, { inNewValue }] = await Promise.all([
    import('../../control-plane/inject/inject-pod.ts'),
    import('./manifests/pod-templates.ts'),
    import('./manifests/edit-yaml.ts'),
    import('../api/documents/yaml-place.ts'),
    import('./manifests/in-new-value.ts'),
  ])
  const notes: InjectNote[] = []
  const before: unknown = document.toJS()
  let after = before
  let injected = 0
  for (const found of podTemplates(before, namespace)) {
    const namespaceLabels = labels.get(found.namespace) ?? { [marks.inject]: 'enabled' }
    const result = injectPod(found.pod, { namespace: found.namespace, namespaceLabels }, template)
    const at = place(offsetAt(document.contents, new Map(), found.path.length === 0 ? ['kind'] : found.path, true))
    const who = `${at}: ${found.kind} ${found.namespace}/${found.name}`
    for (const warning of result.warnings) notes.push({ is: 'warning', text: `${who}: warning: ${warning}` })
    if (result.is === 'refuse') notes.push({ is: 'refused', text: `${who}: error: refused: ${result.reason}` })
    else if (result.is === 'skip') notes.push({ is: 'skipped', text: `${who}: not injected: ${result.reason}` })
    else {
      injected++
      const { labels: podLabels, ...metadata } = result.pod.metadata ?? {}
      const hadLabels = found.pod.metadata?.labels !== undefined || Object.keys(podLabels ?? {}).length > 0
      const pod = { ...result.pod, metadata: { ...metadata, ...(hadLabels ? { labels: podLabels } : {}) } }
      after = inNewValue(after, found.path, JSON.parse(JSON.stringify(pod)))
    }
  }
  return injected === 0 ? { notes, injected } : { text: editYaml(text, document, from, to, after), notes, injected }
}

/** Documents of several files in one stream. */
function joined(texts: readonly string[]): string {
  return texts.reduce((all, text) => {
    if (all === '') return text
    const ended = all.endsWith('\n') ? all : `${all}\n`
    return text.startsWith('---') ? ended + text : `${ended}---\n${text}`
  }, '')
}

/** The settings of the mesh, as the control plane would have them. Throws an Error with one line per problem. */
export async function readTemplate(
  options: Pick<InjectOptions, 'config' | 'set' | 'systemNamespace'>,
): Promise<InjectionTemplate> {
  const [{ parseControlPlaneConfig }, { parseDocument }, { readFile }, { reasonOf }] = await Promise.all([
    import('../../control-plane/config.ts'),
    import('yaml'),
    import('node:fs/promises'),
    import('./read-paths.ts'),
  ])
  const { config, set, systemNamespace } = options
  const text =
    config === undefined
      ? `injector:\n  image: outrigger:${version}\n`
      : await readFile(config, 'utf8').catch((cause: unknown) => {
          throw new Error(`cannot read ${config}: ${reasonOf(cause)}`, { cause })
        })
  const file = config ?? '--set'
  if (set.length === 0) return { config: parseControlPlaneConfig(text, file), systemNamespace }
  // What is wrong with the file is told with its place before anything is laid over it.
  if (config !== undefined) parseControlPlaneConfig(text, file)
  const document = parseDocument(text)
  for (const { path, value } of set) document.setIn(path, parseDocument(value).toJS())
  return { config: parseControlPlaneConfig(document.toString(), `${file} with --set`), systemNamespace }
}

function setting(text: string): Setting {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Expected PATH=VALUE, such as injector.logLevel=debug.')
  return { path: text.slice(0, at).split('.'), value: text.slice(at + 1) }
}
