/** Two servers take turns to be replaced, as Kubernetes replaces Pods, while requests go to them without any retry. */
import assert from 'node:assert/strict'
import http from 'node:http'
import type { RealMesh } from './real-mesh.ts'

export interface Rolling {
  readonly turns: number
  /** At least so many requests, however long that takes. */
  readonly requests: number
}

const clients = 8

/** Asserts that no request was lost; returns how many there were. */
export async function rollingRestarts(mesh: RealMesh, { turns, requests }: Rolling): Promise<number> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
  const failures: string[] = []
  let answered = 0
  let running = true
  const load = Array.from({ length: clients }, async (_, at) => {
    for (let i = at; running || answered < requests; i++) {
      try {
        // Every fourth request has a connection of its own.
        const { status, body } = await send(mesh, i % 2 === 0 ? 'GET' : 'POST', i % 4 === 0 ? undefined : agent)
        if (status === 200) answered++
        else failures.push(`${status} ${body}`)
      } catch (error) {
        failures.push(String(error))
      }
    }
  })
  await replaceSidecars(mesh, turns, () => answered)
  running = false
  await Promise.all(load)
  agent.destroy()
  assert.deepEqual(failures.slice(0, 5), [], `${failures.length} of ${answered + failures.length} failed`)
  return answered
}

/** The sidecars of the servers are replaced in turn; `served` counts upwards all the time. */
export async function replaceSidecars(
  mesh: RealMesh,
  turns: number,
  served: () => number | Promise<number>,
): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    const name = turn % 2 === 0 ? 'server-a' : 'server-b'
    const sidecar = mesh.sidecar(name)
    await mesh.retire(name)
    await mesh.setEnding(name)
    const before = await served()
    await sidecar.end('SIGTERM')
    await mesh.renewToken(name)
    sidecar.start()
    await mesh.ready(name)
    await mesh.setEnding()
    assert.ok((await served()) > before, 'the other one serves meanwhile')
  }
}

function send(
  mesh: RealMesh,
  method: string,
  agent: http.Agent | undefined,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        ...mesh.outbound,
        method,
        path: 'http://server:8080/',
        headers: { host: 'server:8080' },
        agent: agent ?? false,
      },
      (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text: string) => (body += text))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
        response.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(method === 'POST' ? 'x'.repeat(100) : undefined)
  })
}
