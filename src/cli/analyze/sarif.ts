/** SARIF 2.1.0 (OASIS): what code hosts show beside the lines of a change. */
import { version } from '../../base/version.ts'
import { type Code, codes } from './codes.ts'
import type { Message } from './message.ts'

const levels = { error: 'error', warning: 'warning', info: 'note' } as const

/** One run with every rule; a finding in a cluster has a logical place, one in a file a line. */
export function sarif(messages: readonly Message[]): unknown {
  const all: readonly (readonly [string, Code])[] = Object.entries(codes)
  const rules = all.map(([name, { id, severity, meaning }]) => ({
    id,
    name,
    shortDescription: { text: meaning },
    defaultConfiguration: { level: levels[severity] },
  }))
  const indexOf = new Map(rules.map(({ id }, at) => [id, at]))
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'outrigger analyze', version, rules } },
        results: messages.map((message) => ({
          ruleId: message.code,
          ...(indexOf.has(message.code) ? { ruleIndex: indexOf.get(message.code) } : {}),
          level: levels[message.severity],
          message: { text: message.path === '' ? message.message : `${message.path}: ${message.message}` },
          locations: [location(message)],
        })),
      },
    ],
  }
}

function location({ file, line, column, object }: Message): unknown {
  const logical = object === '' ? {} : { logicalLocations: [{ fullyQualifiedName: object, kind: 'object' }] }
  if (line === 0) return logical
  return {
    physicalLocation: {
      artifactLocation: { uri: uriOf(file) },
      region: { startLine: line, startColumn: column },
    },
    ...logical,
  }
}

/** A relative path is one from the root of the repository, where the tool is run. */
function uriOf(file: string): string {
  const path = file.replaceAll('\\', '/').split('/').map(encodeURIComponent).join('/')
  return path.startsWith('/') ? `file://${path}` : path.replace(/^(?:\.\/)+/, '')
}
