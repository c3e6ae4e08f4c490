import { readFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { isNode, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'

const text = z.string().min(1)
const percent = z.number().min(0).max(100)

const stream = z.strictObject({
  name: text.describe('As the expectations call it.'),
  url: z.url({ protocol: /^http$/ }).describe('What the client asks for; the host is a service of the mesh.'),
  rate: z.number().positive().max(5_000).describe('Requests a second, sent whatever comes back.'),
  headers: z.record(z.string(), z.string()).default({}),
  via: z
    .enum(['mesh', 'direct'])
    .default('mesh')
    .describe(
      'mesh: through the sidecar of the client. direct: plaintext to an endpoint, as a program outside the mesh.',
    ),
})

const action = z.union([
  z.strictObject({ app: text, failPercent: percent, failStatus: z.int().min(200).max(599).default(503) }),
  z.strictObject({ apply: text.describe('A YAML file beside scenario.yaml that is put in force now.') }),
])

const phase = z.strictObject({
  name: text,
  share: z.number().positive().default(1).describe('Of the time, relative to the other phases.'),
  settle: z.number().min(0).default(0).describe('Seconds under load before figures count.'),
  do: z.array(action).default([]).describe('Done when the phase begins.'),
  load: z.array(stream).min(1).optional().describe('Instead of the load of the scenario.'),
})

/** Percentages are 0 to 100, durations milliseconds. `stream` and `in` narrow a figure to one stream or phase. */
const measure = z.discriminatedUnion('measure', [
  z.strictObject({ measure: z.literal('requests'), stream: text.optional() }),
  z.strictObject({ measure: z.literal('requestsPerSecond'), stream: text.optional() }),
  z.strictObject({ measure: z.literal('errorPercent'), stream: text.optional() }),
  z.strictObject({ measure: z.literal('statusPercent'), status: z.int(), stream: text.optional() }),
  z.strictObject({ measure: z.literal('headerPercent'), header: text, contains: text, stream: text.optional() }),
  z.strictObject({ measure: z.literal('slowestMs'), stream: text.optional() }),
  z.strictObject({ measure: z.literal('percentileMs'), percent, stream: text.optional() }),
  z.strictObject({ measure: z.literal('appRequests'), app: text, path: text.optional() }),
  z.strictObject({ measure: z.literal('appRequestsPerSecond'), app: text }),
  z.strictObject({ measure: z.literal('appBytes'), app: text }),
  z.strictObject({ measure: z.literal('appSharePercent'), app: text, of: z.array(text).min(1) }),
  z.strictObject({
    measure: z.literal('breakerTransitions'),
    workload: text.describe('Pod whose sidecar is asked, at its /metrics.'),
    service: text,
    to: z.enum(['closed', 'open', 'half-open']),
  }),
])

const bound = z.object({
  that: text.describe('What must hold, as the table says it.'),
  in: text.optional().describe('The phase; without it the whole run.'),
  atLeast: z.number().optional(),
  atMost: z.number().optional(),
})

const boundKeys = new Set(Object.keys(bound.shape))

const expectation = z.record(z.string(), z.unknown()).transform((value, context) => {
  const entries = Object.entries(value)
  const bounds = bound.safeParse(Object.fromEntries(entries.filter(([key]) => boundKeys.has(key))))
  const what = measure.safeParse(Object.fromEntries(entries.filter(([key]) => !boundKeys.has(key))))
  if (!bounds.success || !what.success) {
    for (const { message, path } of [...(bounds.error?.issues ?? []), ...(what.error?.issues ?? [])]) {
      context.addIssue({ code: 'custom', message, path: path.filter((key) => typeof key !== 'symbol') })
    }
    return z.NEVER
  }
  if (bounds.data.atLeast === undefined && bounds.data.atMost === undefined) {
    context.addIssue('needs atLeast, atMost, or both')
    return z.NEVER
  }
  return { bound: bounds.data, measure: what.data }
})

const scenarioSchema = z.strictObject({
  title: text,
  see: text.describe('What you will see, for the person in front of the table.'),
  load: z.array(stream).min(1),
  phases: z.array(phase).min(1),
  expect: z.array(expectation).min(1),
})

export type Scenario = z.infer<typeof scenarioSchema>
export type Phase = Scenario['phases'][number]
export type Stream = Scenario['load'][number]
export type Expectation = Scenario['expect'][number]
export type Measure = Expectation['measure']
export type Bound = Expectation['bound']

/** A scenario and where it lies. */
export interface ScenarioFolder {
  readonly name: string
  readonly folder: string
  /** The YAML that is laid over the base folder. */
  readonly policyFolder: string
  readonly scenario: Scenario
}

/**
 * Reads `scenarios/NAME/scenario.yaml` beside the folder of documents; a name with a slash is a path of its own.
 * Throws an Error with all problems, each as file:line:column.
 */
export async function loadScenario(name: string, documentsFolder: string): Promise<ScenarioFolder> {
  const folder = name.includes('/') || isAbsolute(name) ? resolve(name) : join(documentsFolder, '..', 'scenarios', name)
  const file = join(folder, 'scenario.yaml')
  let source: string
  try {
    source = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error(`no scenario '${name}': ${file} does not exist${await others(join(folder, '..'))}`)
  }
  return { name, folder, policyFolder: join(folder, 'policy'), scenario: parseScenario(source, file) }
}

/** Parses the text of a scenario.yaml; `file` is for the messages. */
export function parseScenario(source: string, file: string): Scenario {
  const lines = new LineCounter()
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false })
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  if (document.errors.length > 0) {
    throw new Error(document.errors.map((error) => `${place(error.pos[0])}: ${error.message}`).join('\n'))
  }
  const parsed = scenarioSchema.safeParse(document.toJS())
  if (parsed.success) return parsed.data
  throw new Error(
    parsed.error.issues
      .map((issue) => {
        let path = [...issue.path]
        let node = document.getIn(path, true)
        while (!isNode(node) && path.length > 0) {
          path = path.slice(0, -1)
          node = document.getIn(path, true)
        }
        const at = isNode(node) && node.range ? place(node.range[0]) : file
        return `${at}: ${issue.path.join('.')}: ${issue.message}`
      })
      .join('\n'),
  )
}

async function others(folder: string): Promise<string> {
  const { readdir } = await import('node:fs/promises')
  const names = await readdir(folder).catch(() => [])
  return names.length === 0 ? '' : ` (there are: ${names.sort().join(', ')})`
}
