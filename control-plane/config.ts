/** The control plane's settings in a cluster: one YAML document, which the chart writes into a ConfigMap. */
import { readFile } from 'node:fs/promises'
import { LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { inSystem } from '../src/base/kubernetes-names.ts'
import { isTrustDomain } from '../src/base/spiffe.ts'

const quantities = z.strictObject({
  cpu: z.string().optional().describe('CPU, a Kubernetes quantity: 50m'),
  memory: z.string().optional().describe('Memory, a Kubernetes quantity: 96Mi'),
})

const injector = z.strictObject({
  image: z.string().min(1).describe('Image of the sidecar and of the init container'),
  imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent').describe('When nodes fetch it'),
  resources: z
    .strictObject({ requests: quantities.optional(), limits: quantities.optional() })
    .default({ requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '256Mi' } })
    .describe('Of a sidecar; a Pod has its own by annotation'),
  interceptionMode: z
    .enum(['REDIRECT', 'NONE'])
    .default('REDIRECT')
    .describe('REDIRECT: iptables in an init container. NONE: explicit listeners, for namespaces under "restricted"'),
  nativeSidecar: z.boolean().default(true).describe('Sidecar as an init container with restartPolicy Always (KEP-753)'),
  rewriteProbes: z.boolean().default(true).describe("Let the kubelet's probes reach the application under STRICT"),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('Of sidecars'),
  drainTimeout: z
    .string()
    .regex(/^\d{1,6}(ms|s|m)$/, 'expected a duration such as 30s')
    .default('30s')
    .describe('Longest wait for open work when a Pod ends'),
  drainDelay: z
    .string()
    .regex(/^\d{1,3}s$/, 'expected seconds such as 5s')
    .default('5s')
    .describe('How long an application is kept alive after its Pod was told to end, while callers hear of it; 0s: off'),
})

const schema = z.strictObject({
  trustDomain: z
    .string()
    .refine(isTrustDomain, 'expected lower-case letters, digits, dots and hyphens')
    .default('cluster.local')
    .describe('Root of all identities: spiffe://DOMAIN/ns/NS/sa/ACCOUNT'),
  clusterDomain: z.string().min(1).default('cluster.local').describe('DNS domain of Services: NAME.NS.svc.DOMAIN'),
  outboundPolicy: z
    .enum(['ALLOW_ANY', 'REGISTRY_ONLY'])
    .default('ALLOW_ANY')
    .describe('What happens to a destination that no Service names'),
  certificateLifetime: z
    .string()
    .regex(/^\d{1,6}(s|m|h)$/, 'expected a duration such as 24h or 30m')
    .default('24h')
    .describe("Life of a workload's certificate"),
  accessLog: z.enum(['off', 'text', 'json']).default('off').describe('Access log of sidecars, on their stdout'),
  tracing: z
    .strictObject({
      otlpEndpoint: z
        .string()
        .default('')
        .describe(
          "OTLP/HTTP base URL for the sidecars' spans, http://jaeger:4318; none: the control plane's own store",
        ),
    })
    .default({ otlpEndpoint: '' }),
  authority: z
    .strictObject({
      secret: z
        .string()
        .default(inSystem.authoritySecret)
        .describe('Secret with the key of the authority; made when it is not there'),
      managed: z
        .boolean()
        .default(true)
        .describe("false: the Secret (tls.crt, tls.key, ca.crt) is somebody else's, as cert-manager makes it"),
      announce: z
        .string()
        .regex(/^\d{1,6}(s|m|h)$/, 'expected a duration such as 10m')
        .default('10m')
        .describe('Rotation of the root: how long the new one is trusted before anything is signed with it'),
    })
    .default({ secret: inSystem.authoritySecret, managed: true, announce: '10m' }),
  tokenAudience: z
    .string()
    .min(1)
    .default(inSystem.tokenAudience)
    .describe('Audience of the service-account tokens that sidecars show'),
  injector,
})

/** Settings of `outrigger control-plane run --kubernetes`, with every default filled in. */
export type ControlPlaneConfig = z.output<typeof schema>
/** What injection needs of them. */
export type InjectorConfig = ControlPlaneConfig['injector']

/** For the chart's schema and for documentation. */
export const controlPlaneConfigSchema = schema

/** Reads and checks a file. Throws an Error with one line per problem: `FILE:LINE:COLUMN: PATH: MESSAGE`. */
export async function readControlPlaneConfig(file: string): Promise<ControlPlaneConfig> {
  return parseControlPlaneConfig(await readFile(file, 'utf8'), file)
}

/** The same of a text; `file` is for messages. */
export function parseControlPlaneConfig(text: string, file: string): ControlPlaneConfig {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const broken = document.errors[0]
  if (broken !== undefined) throw new Error(`${at(broken.pos[0])}: ${broken.message.split('\n')[0]}`)
  const result = schema.safeParse(document.toJS() ?? {})
  if (result.success) return result.data
  const problems = result.error.issues.map((issue) => {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? '' : part))
    // The place of the nearest part that is there: what is missing has none of its own.
    let offset = 0
    for (let depth = path.length; depth > 0; depth--) {
      const node = document.getIn(path.slice(0, depth), true) as { range?: [number, number, number] } | undefined
      if (node?.range === undefined) continue
      offset = node.range[0]
      break
    }
    return `${at(offset)}: ${path.join('.') || 'the document'}: ${issue.message}`
  })
  throw new Error(problems.join('\n'))
}
