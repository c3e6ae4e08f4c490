/** A cluster for the command: the fake API server, a kubeconfig, control-plane replicas and Pods that answer. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ControlPlaneStatus } from '../../control-plane/admin/status.ts'
import type { ApiObject } from '../../control-plane/kubernetes/cluster.ts'
import type { SidecarStatus } from '../../control-plane/stream/sidecars.ts'
import { FakeApi } from './fake-api.ts'
import { servePodPorts, writeKubeconfig } from './pod-ports.ts'

const command = fileURLToPath(new URL('../../src/cli/outrigger', import.meta.url))

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Answers by path: a value as JSON, a number as a status without a body, a function by its outcome. */
export type Answers = Readonly<Record<string, unknown>>

export class CliCluster implements AsyncDisposable {
  readonly api: FakeApi
  readonly folder: string
  readonly kubeconfig: string
  readonly #ports: Record<string, number> = {}
  readonly #servers: Server[] = []

  private constructor(api: FakeApi, folder: string) {
    this.api = api
    this.folder = folder
    this.kubeconfig = writeKubeconfig(folder, api)
    servePodPorts(api, this.#ports)
  }

  static async start(...objects: readonly ApiObject[]): Promise<CliCluster> {
    const cluster = new CliCluster(await FakeApi.start(), mkdtempSync(join(tmpdir(), 'outrigger-cli-')))
    for (const object of objects) cluster.api.put(object)
    return cluster
  }

  /** A port of a Pod answers these paths. */
  async serve(namespace: string, pod: string, port: number, answers: Answers): Promise<void> {
    const server = createServer((request, response) => {
      const path = request.url?.split('?')[0] ?? ''
      const answer = Object.hasOwn(answers, path) ? answers[path] : 404
      if (typeof answer === 'number') return void response.writeHead(answer).end()
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#servers.push(server)
    this.#ports[`${namespace}/${pod}:${port}`] = (server.address() as AddressInfo).port
  }

  /** Whatever listens on a port of this machine is a port of the Pod. */
  map(namespace: string, pod: string, port: number, here: number): void {
    this.#ports[`${namespace}/${pod}:${port}`] = here
  }

  /** Port-forwards to the Pod's port are forbidden. */
  forbid(namespace: string, pod: string, port: number): void {
    this.#ports[`${namespace}/${pod}:${port}`] = -1
  }

  run(...args: readonly string[]): Promise<Ran> {
    return runCommand(args, { KUBECONFIG: this.kubeconfig })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]()
    for (const server of this.#servers) {
      server.closeAllConnections()
      server.close()
    }
    rmSync(this.folder, { recursive: true })
  }
}

/** Runs the command with these variables besides those of this process. */
export function runCommand(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(command, [...args], { encoding: 'utf8', env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    })
  })
}

export function pod(namespace: string, name: string, more: ApiObject = {}): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    spec: { containers: [{ name: 'app', image: 'app' }] },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    ...more,
    metadata: { ...more.metadata, namespace, name },
  }
}

/** Deployment, replicas and Lease of a control plane; the first replica leads. */
export function controlPlaneObjects(...replicas: readonly string[]): ApiObject[] {
  const labels = { 'app.kubernetes.io/name': 'outrigger' }
  const spec = { selector: { matchLabels: labels }, replicas: replicas.length }
  return [
    {
      kind: 'Deployment',
      metadata: { namespace: 'outrigger-system', name: 'outrigger' },
      spec,
      status: { replicas: replicas.length, readyReplicas: replicas.length },
    },
    {
      kind: 'Lease',
      metadata: { namespace: 'outrigger-system', name: 'outrigger-leader' },
      spec: { holderIdentity: replicas[0], leaseDurationSeconds: 15 },
    },
    ...replicas.map((name) => pod('outrigger-system', name, { metadata: { labels } })),
  ]
}

export function sidecar(workload: string, more: Partial<SidecarStatus> = {}): SidecarStatus {
  return {
    workload,
    identity: `spiffe://cluster.local/ns/${workload.split('/')[0]}/sa/default`,
    connected: true,
    since: Date.now() - 60_000,
    ackedRevision: 4,
    inSync: true,
    subscribed: 7,
    rejected: [],
    certificateExpiresAt: Date.now() + 20 * 3_600_000,
    program: 'outrigger 0.1.0',
    effectiveHash: '0123456789abcdef',
    breakerTransitions: [],
    ...more,
  }
}

export function replicaStatus(more: Partial<ControlPlaneStatus> = {}): ControlPlaneStatus {
  return {
    program: 'outrigger 0.1.0',
    revision: 4,
    synced: true,
    blocked: [],
    trustDomain: 'cluster.local',
    rootExpiresAt: Date.now() + 1e11,
    sources: [{ name: 'cluster', documents: 12, problems: [] }],
    sidecars: [],
    certificateRefusals: {},
    ...more,
  } as ControlPlaneStatus
}
