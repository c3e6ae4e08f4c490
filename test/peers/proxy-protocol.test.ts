/** PROXY headers as HAProxy writes them, in front of a sidecar. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { freePort } from '../support/free-port.ts'
import { Mesh } from '../support/mesh.ts'
import { findProgram } from '../support/programs.ts'
import { openClient } from '../support/upstream.ts'

/** Version 1, version 2, and that with a checksum and other TLVs. */
const variants = ['v1', 'v2', 'v2-all'] as const
/** Where the load balancer dials from; clients come from elsewhere. */
const balancer = '127.0.0.9'
const policies = `apiVersion: outrigger.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: web, namespace: test }
spec:
  selector: { matchLabels: { app: web } }
  proxyProtocol: [{ ports: [8080], from: ["${balancer}"] }]
---
apiVersion: outrigger.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: blocked, namespace: test }
spec:
  action: DENY
  rules: [{ from: [{ ipBlocks: [127.0.7.0/24] }] }]
`
const app = (req: http.IncomingMessage, res: http.ServerResponse): void =>
  void res.end(`for ${req.headers['x-forwarded-for'] ?? 'nobody'}`)

describe('PROXY headers of other programs', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-balancers-'))
  const running: ChildProcess[] = []
  const ports = new Map<string, number>()
  let mesh: Mesh
  before(async () => {
    mesh = await Mesh.start({ workloads: [{ name: 'web', app }], policies })
    const web = `${mesh.get('web').address}:8080`
    for (const name of variants) ports.set(name, await freePort())
    const listen = (name: string, send: string): string => `listen ${name}
  bind 127.0.0.1:${ports.get(name)}
  server web ${web} source ${balancer} ${send}
`
    const all = 'send-proxy-v2 proxy-v2-options ssl,cert-cn,unique-id,crc32c'
    writeFileSync(
      join(folder, 'haproxy.cfg'),
      `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
${listen('v1', 'send-proxy')}${listen('v2', 'send-proxy-v2')}${listen('v2-all', all)}  unique-id-format %ci-%ts
`,
    )
    start('haproxy', '-db', '-f', join(folder, 'haproxy.cfg'))
    for (const port of ports.values()) await listening(port)
  })
  after(async () => {
    for (const child of running) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      await once(child, 'close')
    }
    await mesh?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  function start(program: string, ...args: string[]): void {
    running.push(spawn(findProgram(program) ?? program, args, { stdio: ['ignore', 'ignore', 'inherit'] }))
  }

  async function listening(port: number): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      const ended = running.find((child) => child.exitCode !== null)
      if (ended !== undefined) throw new Error(`${ended.spawnfile} has ended`)
      const socket = net.connect(port, '127.0.0.1')
      const open = await once(socket, 'connect').then(
        () => true,
        () => false,
      )
      socket.destroy()
      if (open) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`nobody listens on ${port}`)
  }

  for (const name of variants) {
    it(`${name}: the client's own address decides, and reaches the application`, async () => {
      for (const [from, expected] of [
        ['127.0.8.1', /^HTTP\/1\.1 200 [^]*for 127\.0\.8\.1$/],
        ['127.0.7.1', /^HTTP\/1\.1 403 /],
      ] as const) {
        using client = await openClient({ port: ports.get(name)!, localAddress: from })
        client.socket.write('GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n')
        await client.ended
        assert.match(client.text(), expected, from)
      }
    })
  }
})
