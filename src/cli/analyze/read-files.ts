/** Subjects of files. */
import type { ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import type { Document, Place } from '../../api/documents/document.ts'
import { loadDocuments, type SourceFile } from '../../api/documents/load-documents.ts'
import { parseYaml } from '../../api/documents/parse-yaml.ts'
import type { Path, Problem } from '../../api/documents/problem.ts'
import { readDocument } from '../../api/documents/read-document.ts'
import { isKind } from '../../api/policy/kinds.ts'
import { isRecord, podTemplates } from '../manifests/pod-templates.ts'
import { textOf } from '../read-paths.ts'
import { objectText } from './message.ts'
import { type ObjectSubject, type PodSubject, type Subjects, suppressedBy } from './subjects.ts'

/** What was left out with these may be anything. */
const nameless = new Set([
  'file-too-large',
  'binary-file',
  'not-utf8',
  'empty-file',
  'yaml-syntax',
  'alias',
  'too-deep',
  'not-a-map',
  'unknown-kind',
])

function hidesItsName({ code, severity, path }: Problem): boolean {
  return severity === 'error' && (nameless.has(code) || path === 'kind' || path === 'metadata.name')
}

interface Raw {
  readonly file: string
  readonly value: Readonly<Record<string, unknown>>
  place(path: Path): Place
}

/** Groups of the API whose kinds the mesh reads: an unknown kind there is a mistake, elsewhere somebody else's. */
const ourGroups = /^(?:outrigger\.dev|gateway\.networking\.k8s\.io)\//

/** Reads files. Kinds that the mesh has nothing to do with are passed over. */
export function readFiles(files: readonly SourceFile[], namespace: string, systemNamespace: string): Subjects {
  const loaded = loadDocuments(files)
  const raws = files.flatMap(rawDocuments)
  const foreign = new Set(raws.filter(isForeign).map((raw) => placeKey({ file: raw.file, ...raw.place(['kind']) })))
  const problems = loaded.problems.filter(
    (problem) => !(problem.code === 'unknown-kind' && foreign.has(placeKey(problem))),
  )
  const pods: PodSubject[] = []
  const made: Document[] = []
  const objects: ObjectSubject[] = []
  for (const raw of raws) {
    const { value, file } = raw
    const metadata = isRecord(value['metadata']) ? value['metadata'] : {}
    const kind = String(value['kind'])
    const clustered = kind === 'Namespace'
    objects.push({
      kind,
      namespace: clustered ? '' : String(metadata['namespace'] ?? namespace),
      name: String(metadata['name'] ?? ''),
      file,
      place: (path) => raw.place(path),
      object: value as ApiObject,
    })
    for (const { path, pod, ...about } of podTemplates(value, namespace)) {
      pods.push({ ...about, pod, base: path, file, place: (inside) => raw.place(inside), runs: false })
      if (about.kind !== 'Pod') made.push(...templateDocument(raw, { path, pod, ...about }))
    }
  }
  return {
    documents: [...loaded.documents, ...made],
    problems,
    refused: loaded.refused,
    unidentified: problems.some(hidesItsName),
    pods,
    namespaces: objects.filter(({ kind }) => kind === 'Namespace'),
    services: objects.filter(({ kind }) => kind === 'Service'),
    suppressed: suppressionsOf(objects),
    suppressors: objects.filter(({ object }) => suppressedBy(object).length > 0),
    systemNamespace,
  }
}

/** Codes by object; a template's Pods are suppressed with their workload. */
export function suppressionsOf(objects: readonly ObjectSubject[]): ReadonlyMap<string, readonly string[]> {
  return new Map(
    objects
      .map(({ kind, namespace, name, object }) => [objectText(kind, namespace, name), suppressedBy(object)] as const)
      .filter(([, codes]) => codes.length > 0),
  )
}

/** The Pods of a workload, as one Pod of its name: what selectors and Services see. */
function templateDocument(raw: Raw, found: ReturnType<typeof podTemplates>[number]): Document[] {
  const { labels, annotations } = found.pod.metadata ?? {}
  const metadata = {
    name: found.name,
    namespace: found.namespace,
    labels: labels ?? {},
    ...(annotations === undefined ? {} : { annotations }),
  }
  const { document } = readDocument({
    value: { apiVersion: 'v1', kind: 'Pod', metadata, spec: found.pod.spec ?? {} },
    file: raw.file,
    place: (path) => raw.place([...found.path, ...path]),
  })
  return document === undefined ? [] : [document]
}

function isForeign({ value }: Raw): boolean {
  const apiVersion = value['apiVersion']
  return (
    typeof value['kind'] === 'string' &&
    !isKind(value['kind']) &&
    typeof apiVersion === 'string' &&
    !ourGroups.test(apiVersion)
  )
}

function rawDocuments(file: SourceFile): Raw[] {
  const { trees } = parseYaml(file.path, textOf(file))
  return trees.flatMap((tree) => expand({ file: file.path, value: tree.value, place: (path) => tree.place(path) }))
}

function expand(raw: { file: string; value: unknown; place(path: Path): Place }): Raw[] {
  const { value, file } = raw
  if (!isRecord(value)) return []
  const items = value['items']
  if (value['kind'] !== 'List' || !Array.isArray(items)) return [{ ...raw, value }]
  return items.flatMap((item: unknown, at) =>
    expand({ file, value: item, place: (path) => raw.place(['items', at, ...path]) }),
  )
}

function placeKey({ file, line, column }: Pick<Problem, 'file' | 'line' | 'column'>): string {
  return `${file}:${line}:${column}`
}
