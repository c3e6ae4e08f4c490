/** What only whole sidecars show: whose decision it is to look inside, and how one goes without losing anything. */
import assert from 'node:assert/strict'
import http from 'node:http'
import { describe, it } from 'node:test'
import { eventually } from '../support/control.ts'
import { call, Mesh } from '../support/mesh.ts'
import { openClient } from '../support/upstream.ts'

const noAdmin = `apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: test }
spec:
  action: DENY
  rules:
    - to: [{ paths: [/admin] }]
`

describe('a tunnel to an HTTP port', () => {
  for (const portName of ['http', 'web']) {
    it(`does not pass its policy by (port ${portName})`, async () => {
      await using mesh = await Mesh.start({
        workloads: [{ name: 'client' }, { name: 'server', portName, app: (_req, res) => void res.end('served') }],
        policies: noAdmin,
      })
      using client = await openClient(mesh.get('client').outbound)
      client.socket.write('CONNECT server:8080 HTTP/1.1\r\nHost: server:8080\r\n\r\n')
      await client.seen(/^HTTP\/1\.1 200 Connection established\r\n\r\n/)
      client.socket.write('GET /ok HTTP/1.1\r\nHost: server\r\n\r\n')
      await client.seen(/served$/)
      client.socket.write('GET /admin HTTP/1.1\r\nHost: server\r\n\r\n')
      await client.seen(/HTTP\/1\.1 403 [^]*DENIED/)
      assert.equal(mesh.get('server').seen, 1)
    })
  }
})

describe('draining', () => {
  it('lets a request under way call others to its end', async () => {
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let mesh: Mesh | undefined
    const started = Mesh.start({
      workloads: [
        { name: 'client' },
        {
          name: 'middle',
          app: (_req, res) => {
            void held
              .then(() => call(mesh!.get('middle'), 'http://last:8080/'))
              .then(({ status, body }) => res.end(`${status} ${body}`))
              .catch((error: unknown) => res.end(String(error)))
          },
        },
        { name: 'last', app: (_req, res) => void res.end('from the last') },
      ],
    })
    await using running = await started
    mesh = running
    // Known before the drain: an application that is at work has called before.
    const answer = call(running.get('client'), 'http://middle:8080/')
    await eventually(() => running.get('middle').seen === 1, 'the request is with the application')
    const drained = running.get('middle').running.drain(10_000)
    release()
    assert.equal((await answer).body, '200 from the last')
    await drained
  })

  it('under load loses no request: keep-alive clients are told, then let go', { timeout: 60_000 }, async () => {
    await using mesh = await Mesh.start({
      workloads: [{ name: 'client', app: (_req, res) => void res.end('hello') }],
    })
    const workload = mesh.get('client')
    const failures: string[] = []
    let answers = 0
    let told = 0
    // Plaintext into the inbound listener, PERMISSIVE: clients that nobody retries for.
    const client = async (): Promise<void> => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (let last = false; !last; ) {
        await new Promise<void>((resolve) => {
          const request = http.request(
            { host: workload.address, port: 8080, method: 'POST', agent, headers: { 'content-length': 1 } },
            (response) => {
              last = response.headers.connection === 'close'
              if (last) told++
              response.on('end', () => {
                answers++
                resolve()
              })
              response.resume()
            },
          )
          request.on('error', (error) => {
            failures.push(error.message)
            last = true
            resolve()
          })
          request.end('x')
        })
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      agent.destroy()
    }
    const clients = Promise.all(Array.from({ length: 20 }, client))
    await eventually(() => answers > 200, 'all are at work')
    await workload.running.drain(10_000)
    await clients
    assert.deepEqual(failures, [])
    assert.equal(told, 20)
  })
})
