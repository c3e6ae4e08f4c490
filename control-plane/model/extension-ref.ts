import type { DocumentOf } from '../../src/api/documents/document.ts'
import type { RouteFilter } from '../../src/api/policy/route-filter.ts'
import type { DocumentIndex } from './document-index.ts'
import type { Route } from './route.ts'

type ExtensionRef = NonNullable<RouteFilter['extensionRef']>

/** What an ExtensionRef filter of a route means. */
export type ResolvedExtension =
  | { readonly is: 'fault'; readonly fault: DocumentOf<'FaultInjection'> }
  | { readonly is: 'missing' }
  /** A filter of another implementation. */
  | { readonly is: 'foreign'; readonly what: string }

/** Resolves a filter by reference: a FaultInjection of the route's own namespace. */
export function resolveExtension(index: DocumentIndex, route: Route, ref: ExtensionRef): ResolvedExtension {
  if (!isFaultRef(ref)) return { is: 'foreign', what: ref.group === '' ? ref.kind : `${ref.kind}.${ref.group}` }
  const fault = index.find('FaultInjection', route.namespace, ref.name)
  return fault === undefined ? { is: 'missing' } : { is: 'fault', fault }
}

/** Whether an ExtensionRef names a FaultInjection. */
export function isFaultRef({ group, kind }: ExtensionRef): boolean {
  return group === 'outrigger.dev' && kind === 'FaultInjection'
}
