/** What the mesh needs of Kubernetes itself. */
import { type Api, ApiError, type ApiObject } from '../../../control-plane/kubernetes/cluster.ts'
import { type KindTraits, kinds } from '../../api/policy/kinds.ts'
import { messageOf } from '../../base/log.ts'
import { version } from '../../base/version.ts'
import type { OpenedCluster } from '../cluster/open.ts'
import { listAll } from '../cluster/pods.ts'
import { type Finding, failed, type Group, ok, skipped, some, warning } from './report.ts'

/** Native sidecars (KEP-753) are on by default from 1.29 on, preStop.sleep (KEP-3960) from 1.30. */
const minorMin = 30

/** Whether the API server answers, and is new enough. Nothing else can be checked when it does not. */
export async function checkServer({ cluster, name }: OpenedCluster): Promise<Group> {
  const group = 'Kubernetes'
  try {
    const answer = await cluster.ask('GET', '/version', { timeoutMs: 10_000 })
    const { major = '', minor = '', gitVersion = '' } = answer as unknown as Readonly<Record<string, string>>
    const isNew = Number(major) > 1 || (Number(major) === 1 && Number.parseInt(minor, 10) >= minorMin)
    return {
      name: group,
      findings: [
        ok(`${name} answers`),
        isNew
          ? ok(`version ${gitVersion}`)
          : failed(
              `version ${gitVersion} is too old`,
              `1.${minorMin} or newer is needed: sidecars are native ones, and Pods end with the preStop action sleep`,
            ),
      ],
    }
  } catch (error) {
    const remedy = 'choose the cluster with --context or --kubeconfig; kubectl cluster-info says whether it is up'
    return { name: group, findings: [failed(messageOf(error), remedy)] }
  }
}

interface Right {
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly verb: string
  /** In the namespace of the control plane; default: everywhere. */
  readonly inSystem?: true
}

/** What installing writes. */
const rightsToInstall: readonly Right[] = [
  { group: '', resource: 'namespaces', verb: 'create' },
  { group: 'apiextensions.k8s.io', resource: 'customresourcedefinitions', verb: 'create' },
  { group: 'rbac.authorization.k8s.io', resource: 'clusterroles', verb: 'create' },
  { group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings', verb: 'create' },
  { group: 'admissionregistration.k8s.io', resource: 'mutatingwebhookconfigurations', verb: 'create' },
  { group: 'apps', resource: 'deployments', verb: 'create', inSystem: true },
  { group: '', resource: 'services', verb: 'create', inSystem: true },
  { group: '', resource: 'serviceaccounts', verb: 'create', inSystem: true },
  { group: '', resource: 'configmaps', verb: 'create', inSystem: true },
  { group: 'rbac.authorization.k8s.io', resource: 'roles', verb: 'create', inSystem: true },
  { group: 'rbac.authorization.k8s.io', resource: 'rolebindings', verb: 'create', inSystem: true },
]

/** What this command reads. */
const rightsToLook: readonly Right[] = [
  { group: '', resource: 'pods', verb: 'list' },
  { group: '', resource: 'pods', subresource: 'portforward', verb: 'create', inSystem: true },
  { group: '', resource: 'namespaces', verb: 'list' },
  { group: '', resource: 'configmaps', verb: 'list' },
  { group: 'apps', resource: 'deployments', verb: 'get', inSystem: true },
  { group: 'coordination.k8s.io', resource: 'leases', verb: 'get', inSystem: true },
  { group: 'admissionregistration.k8s.io', resource: 'mutatingwebhookconfigurations', verb: 'get' },
  { group: 'apiextensions.k8s.io', resource: 'customresourcedefinitions', verb: 'list' },
]

/** Whether this user may do what comes next. */
export async function checkRights(opened: OpenedCluster, toInstall: boolean): Promise<Group> {
  const what = toInstall ? 'install the mesh' : 'look into the mesh'
  const rights = toInstall ? rightsToInstall : rightsToLook
  const answers = await Promise.all(rights.map(async (right) => [right, await mayI(opened, right)] as const))
  const denied = answers.filter(([, allowed]) => !allowed).map(([right]) => rightText(right, opened))
  return {
    name: 'Permissions',
    findings: [
      denied.length === 0
        ? ok(`this user may ${what}`)
        : failed(
            `this user may not ${what}: ${some(denied, 5)}`,
            toInstall
              ? 'install as a cluster administrator'
              : 'ask for a role with these rights, or use another --context',
          ),
    ],
  }
}

async function mayI({ cluster, systemNamespace }: OpenedCluster, right: Right): Promise<boolean> {
  const { inSystem, ...attributes } = right
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: { ...attributes, ...(inSystem === true ? { namespace: systemNamespace } : {}) } },
  }
  const answer = await cluster.ask('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { body })
  return (answer['status'] as { allowed?: boolean } | undefined)?.allowed === true
}

function rightText({ resource, subresource, verb, inSystem }: Right, { systemNamespace }: OpenedCluster): string {
  const path = subresource === undefined ? resource : `${resource}/${subresource}`
  return `${verb} ${path}${inSystem === true ? ` in ${systemNamespace}` : ''}`
}

interface Crd extends ApiObject {
  readonly spec?: { readonly versions?: readonly { readonly name: string; readonly served: boolean }[] }
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

/** The definitions of the kinds that the mesh reads. Before an install only Gateway API's must be there. */
export async function checkDefinitions({ cluster }: OpenedCluster, isPre: boolean): Promise<Group> {
  const name = 'Definitions (CRDs)'
  let crds: ReadonlyMap<string, Crd>
  try {
    crds = await definitions(cluster)
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 403) throw error
    return { name, findings: [skipped('they cannot be listed', 'see Permissions')] }
  }
  const findings: Finding[] = [gatewayApi(crds)]
  if (!isPre) findings.push(...ours(crds))
  return { name, findings }
}

async function definitions(api: Api): Promise<ReadonlyMap<string, Crd>> {
  const all = await listAll<Crd>(api, '/apis/apiextensions.k8s.io/v1/customresourcedefinitions')
  return new Map(all.map((crd) => [crd.metadata?.name ?? '', crd]))
}

function gatewayApi(crds: ReadonlyMap<string, Crd>): Finding {
  const crd = crds.get('httproutes.gateway.networking.k8s.io')
  const remedy =
    'install the CRDs of Gateway API v1.6.3, experimental channel for retry: the mesh runs without, and has no routes'
  const grpc = crds.get('grpcroutes.gateway.networking.k8s.io')
  if (crd === undefined) return warning('Gateway API is not installed: there are no routes', remedy)
  if (!serves(crd, 'v1')) return failed('HTTPRoute is not served as gateway.networking.k8s.io/v1', remedy)
  if (grpc === undefined) return warning('Gateway API is installed without GRPCRoute', remedy)
  if (!serves(grpc, 'v1')) return failed('GRPCRoute is not served as gateway.networking.k8s.io/v1', remedy)
  const annotations = crd.metadata?.annotations ?? {}
  const bundle = annotations['gateway.networking.k8s.io/bundle-version'] ?? 'of unknown version'
  const channel = annotations['gateway.networking.k8s.io/channel'] ?? 'unknown'
  if (channel === 'standard')
    return warning(
      `Gateway API ${bundle}, standard channel`,
      'before v1.7 the field retry of HTTPRoute is in the experimental channel only: retries can be set by BackendPolicy',
    )
  return ok(`Gateway API ${bundle}, ${channel} channel`)
}

function ours(crds: ReadonlyMap<string, Crd>): Finding[] {
  const wanted = Object.values<KindTraits>(kinds).filter(({ apiVersion }) => apiVersion.startsWith('outrigger.dev/'))
  const names = wanted.map(({ plural }) => `${plural}.outrigger.dev`)
  const remedy = "'outrigger install' brings them up to date"
  const missing = names.filter((name) => !crds.has(name))
  if (missing.length > 0) return [failed(`not installed: ${some(missing, 8)}`, remedy)]
  const notServed = wanted
    .filter(({ plural, apiVersion }) => !serves(crds.get(`${plural}.outrigger.dev`)!, apiVersion.split('/')[1] ?? ''))
    .map(({ plural }) => plural)
  if (notServed.length > 0)
    return [failed(`not served in the version that this program reads: ${some(notServed)}`, remedy)]
  const waiting = names.filter((name) =>
    crds.get(name)?.status?.conditions?.some(({ type, status }) => type === 'Established' && status !== 'True'),
  )
  if (waiting.length > 0)
    return [failed(`not established: ${some(waiting)}`, `kubectl describe crd ${waiting[0]} says why`)]
  const others = new Set(
    names
      .map((name) => crds.get(name)?.metadata?.labels?.['app.kubernetes.io/version'])
      .filter((one) => one !== undefined && one !== version),
  )
  return [
    others.size === 0
      ? ok(`all ${names.length} of outrigger.dev are served`)
      : warning(`those of outrigger.dev are of version ${[...others].join(', ')}, this program is ${version}`, remedy),
  ]
}

function serves(crd: Crd, wanted: string): boolean {
  return crd.spec?.versions?.some(({ name, served }) => name === wanted && served) ?? false
}
