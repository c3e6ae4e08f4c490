import type { Kind, KindValue } from '../policy/kinds.ts'
import type { Path } from './problem.ts'

/** A place in a text, both from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

/** Where a document was read. */
export interface Origin extends Place {
  /** Path as it was given. */
  readonly file: string
}

/** A document of one kind that the schema has accepted. */
export interface DocumentOf<K extends Kind> {
  readonly kind: K
  readonly apiVersion: string
  /** `default` when the document names none; empty for kinds that are not in a namespace. */
  readonly namespace: string
  readonly name: string
  /** Parsed, defaults filled in. */
  readonly value: KindValue<K>
  readonly origin: Origin
  /** metadata.generation, or 8 hex digits of a hash over what the document says. */
  readonly version: string
  /** The place of a value, or of the nearest thing around it that is there. */
  locate(path: Path): Place
}

/** Any document. `kind` tells the type of `value`. */
export type Document = { [K in Kind]: DocumentOf<K> }[Kind]
