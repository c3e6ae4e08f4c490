/** The HTTPRoutes and GRPCRoutes that Gateway API itself publishes: examples, and the manifests of its conformance suite. */
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { root } from '../cluster/state.ts'

export interface Published {
  readonly file: string
  readonly route: { readonly kind: string; readonly metadata: { readonly name: string }; readonly spec: object }
}

/** Of the versions that the suite's program requires. */
export function publishedRoutes(): Published[] {
  const api = moduleFolder('sigs.k8s.io/gateway-api')
  const suite = moduleFolder('sigs.k8s.io/gateway-api/conformance')
  const files = [
    ...globSync('examples/**/*.yaml', { cwd: api }).map((file) => path.join(api, file)),
    ...globSync('{base,mesh,tests}/**/*.yaml', { cwd: suite }).map((file) => path.join(suite, file)),
  ]
  return files.flatMap((file) =>
    parseAllDocuments(readFileSync(file, 'utf8'))
      .map((document) => document.toJS() as Published['route'] | null)
      .filter((value) => value?.kind === 'HTTPRoute' || value?.kind === 'GRPCRoute')
      .map((route) => ({ file: path.basename(file), route: route! })),
  )
}

function moduleFolder(name: string): string {
  const cwd = path.join(root, 'test/cluster/programs/gateway-api')
  return execFileSync('go', ['list', '-m', '-f', '{{.Dir}}', name], { cwd, encoding: 'utf8' }).trim()
}
