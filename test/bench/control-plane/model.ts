/**
 * What a large mesh costs the control plane in thought: `model.ts PODS SERVICES` prints CPU times as JSON. No files, no
 * sidecars; the sources and not dist/, which are the same code.
 */
import { checkModel } from '../../../control-plane/model/check.ts'
import { SnapshotCache } from '../../../control-plane/snapshot/snapshot-cache.ts'
import type { Document } from '../../../src/api/documents/document.ts'
import { loadDocuments } from '../../../src/api/documents/load-documents.ts'
import { Mesh } from './mesh.ts'
import type { ModelFigures } from './model-figures.ts'
import { percentiles } from './percentiles.ts'

const repeats = 10

const [pods = 0, services = 0] = process.argv.slice(2).map(Number)
const mesh = new Mesh({ pods, services })
const read = timed(() => loadDocuments(mesh.files('')).documents)
let documents: readonly Document[] = read.value
const cache = new SnapshotCache({
  trustDomain: 'bench.test',
  trustBundle: '',
  clusterDomain: 'cluster.local',
  outboundPolicy: 'ALLOW_ANY',
})
const first = timed(() => cache.setDocuments(documents))
const figures: ModelFigures = {
  pods,
  services,
  documents: documents.length,
  resources: [...cache.names()].length,
  readMs: read.ms,
  firstMs: first.ms,
  routeMs: median((mark) => mesh.route(0, mark)),
  endpointsMs: median((mark) => mesh.endpoints(0, mark)),
  guardMs: median((mark) => mesh.guard(mesh.workloads[0]!, mark)),
  checkMs: timed(() => checkModel(documents)).ms,
  rssMb: process.memoryUsage().rss / 1e6,
}
process.stdout.write(`${JSON.stringify(figures)}\n`)

/** CPU time from a document that was read to the names that changed. */
function median(text: (mark: number) => string): number {
  const ms = Array.from({ length: repeats }, (_, at) => {
    const [changed] = loadDocuments([{ path: 'changed.yaml', text: text(at + 1) }]).documents
    const isSame = (one: Document): boolean =>
      one.kind === changed!.kind && one.namespace === changed!.namespace && one.name === changed!.name
    documents = [...documents.filter((one) => !isSame(one)), changed!]
    const { revision } = cache
    const { ms } = timed(() => cache.setDocuments(documents))
    if (cache.revision === revision) throw new Error(`${changed!.kind}: nothing has changed`)
    return ms
  })
  return percentiles(ms).p50
}

function timed<T>(run: () => T): { readonly value: T; readonly ms: number } {
  const before = process.cpuUsage()
  const value = run()
  const { user, system } = process.cpuUsage(before)
  return { value, ms: (user + system) / 1_000 }
}
