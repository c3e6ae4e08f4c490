import type { Document, DocumentOf } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import type { Lookup } from '../model/lookup.ts'
import type { MeshModel } from '../model/mesh-model.ts'
import type { ModelView } from '../model/model-view.ts'
import type { MeshSettings } from './mesh-settings.ts'

/** Finds one of the model's maps in any model. One constant for each: they are compared by identity. */
type Table = (model: MeshModel) => Lookup<unknown, unknown>

/** One question and its answer. */
interface Read {
  readonly table: Table
  readonly key: unknown
  readonly answer: unknown
}

interface Built {
  readonly of: Document | undefined
  readonly value: unknown
  readonly reads: readonly Read[]
}

/**
 * Makes the parts of a snapshot, each anew only when something that it was made of has changed. What that is need not be
 * written down anywhere: every answer that the maker of a part got from the model is remembered, and as long as the next
 * model gives the very same ones the part stands, for makers are pure.
 */
export class Memo {
  #settings: MeshSettings | undefined
  #model: MeshModel | undefined
  #before: ReadonlyMap<string, Built> = new Map()
  #built = new Map<string, Built>()

  /** The model of the last pass: the next one shares with it what did not change. */
  get model(): MeshModel | undefined {
    return this.#model
  }

  /** Begins a pass; parts that it does not ask for are forgotten at its end. */
  begin(model: MeshModel, settings: MeshSettings): void {
    this.#before = settings === this.#settings ? this.#built : new Map()
    this.#built = new Map()
    this.#model = model
    this.#settings = settings
  }

  /** The part of this name, made of a document and of what `make` asks the view for. */
  part<T>(name: string, of: Document | undefined, make: (view: ModelView) => T): T {
    const model = this.#model
    if (model === undefined) throw new Error('no pass was begun')
    const known = this.#before.get(name)
    if (known !== undefined && known.of === of && known.reads.every((read) => holds(read, model))) {
      this.#built.set(name, known)
      return known.value as T
    }
    const reads = new Map<Table, Map<unknown, unknown>>()
    const value = make(view(model, reads))
    const flat = [...reads].flatMap(([table, keys]) => [...keys].map(([key, answer]) => ({ table, key, answer })))
    this.#built.set(name, { of, value, reads: flat })
    return value
  }
}

function holds({ table, key, answer }: Read, model: MeshModel): boolean {
  return table(model).get(key) === answer
}

/** The model, with every answer written down in `reads`. */
function view(model: MeshModel, reads: Map<Table, Map<unknown, unknown>>): ModelView {
  const watched = <K, V>(table: (model: MeshModel) => Lookup<K, V>): Lookup<K, V> => ({
    get: (key) => {
      const answer = table(model).get(key)
      let keys = reads.get(table as Table)
      if (keys === undefined) reads.set(table as Table, (keys = new Map()))
      keys.set(key, answer)
      return answer
    },
  })
  return {
    index: {
      all: <K extends Kind>(kind: K) => watched(tablesOf(kind).all).get('') ?? [],
      inNamespace: (kind, namespace) => watched(tablesOf(kind).byNamespace).get(namespace) ?? [],
      find: (kind, namespace, name) => watched(tablesOf(kind).named).get(`${namespace}/${name}`),
    },
    routes: watched(tables.routes),
    endpoints: watched(tables.endpoints),
    faults: watched(tables.faults),
    backendPolicies: { inForce: watched(tables.backendPolicies) },
    workloads: { ports: watched(tables.ports), opaque: watched(tables.opaque) },
    guards: watched(tables.guards),
  }
}

const tables = {
  routes: (model: MeshModel) => model.routes,
  endpoints: (model: MeshModel) => model.endpoints,
  faults: (model: MeshModel) => model.faults,
  backendPolicies: (model: MeshModel) => model.backendPolicies.inForce,
  ports: (model: MeshModel) => model.workloads.ports,
  opaque: (model: MeshModel) => model.workloads.opaque,
  guards: (model: MeshModel) => model.guards,
}

interface KindTables<K extends Kind> {
  readonly all: (model: MeshModel) => Lookup<string, readonly DocumentOf<K>[]>
  readonly byNamespace: (model: MeshModel) => Lookup<string, readonly DocumentOf<K>[]>
  readonly named: (model: MeshModel) => Lookup<string, DocumentOf<K>>
}

const byKind = new Map<Kind, unknown>()

function tablesOf<K extends Kind>(kind: K): KindTables<K> {
  let known = byKind.get(kind) as KindTables<K> | undefined
  if (known === undefined) {
    known = {
      all: (model) => ({ get: () => model.index.all(kind) }),
      byNamespace: (model) => model.index.byNamespace(kind),
      named: (model) => model.index.named(kind),
    }
    byKind.set(kind, known)
  }
  return known
}
