/** Policy while it changes: in force within a second, refused with its place, the last good one stays. */
import assert from 'node:assert/strict'
import type http from 'node:http'
import { describe, it } from 'node:test'
import { call, Mesh } from '../support/mesh.ts'

const echo = (req: http.IncomingMessage, res: http.ServerResponse): void => {
  res.setHeader('x-headers', JSON.stringify(req.headers))
  res.setHeader('x-url', req.url ?? '')
  res.end(process.pid.toString())
}
const named =
  (name: string) =>
  (req: http.IncomingMessage, res: http.ServerResponse): void => {
    res.setHeader('x-name', name)
    echo(req, res)
  }
const workloads = [{ name: 'client' }, { name: 'one', app: named('one') }, { name: 'two', app: named('two') }]
const route = (rules: string): string => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: one, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: one }]
  rules:
${rules}
`
const toOne = '    - backendRefs: [{ name: one, port: 8080 }]'
const toTwo = '    - backendRefs: [{ name: two, port: 8080 }]'

describe('policy', () => {
  it('a change is in force within a second', async () => {
    await using mesh = await Mesh.start({ workloads, policies: route(toOne) })
    const client = mesh.get('client')
    assert.equal((await call(client, 'http://one:8080/')).headers['x-name'], 'one')
    const started = performance.now()
    const changed = mesh.setPolicies(route(toTwo))
    while ((await call(client, 'http://one:8080/')).headers['x-name'] !== 'two') {
      assert.ok(performance.now() - started < 5_000, 'still the old rule')
    }
    await changed
  })

  it('a refused edit keeps the last good policy, and status names file, line, column and what was meant', async () => {
    await using mesh = await Mesh.start({ workloads, policies: route(toTwo) })
    const client = mesh.get('client')
    await mesh.addDocument('policies.yaml', route(toOne.replace('backendRefs', 'backendRef')), false)
    const { admin } = mesh.controlPlane.ports
    interface Problem {
      readonly file: string
      readonly line: number
      readonly column: number
      readonly message: string
      readonly suggestion?: string
    }
    let problems: Problem[] = []
    while (problems.length === 0) {
      const status = (await (await fetch(`http://127.0.0.1:${admin}/status`)).json()) as {
        sources: { problems: Problem[] }[]
      }
      problems = status.sources.flatMap((source) => source.problems)
    }
    assert.equal(problems.length, 1)
    const [problem] = problems
    assert.match(problem!.file, /policies\.yaml$/)
    assert.equal(problem!.line, 7)
    assert.match(JSON.stringify(problem), /backendRefs/)
    assert.equal((await call(client, 'http://one:8080/')).headers['x-name'], 'two')
  })

  it('splits by weight, and a header overrides', async () => {
    await using mesh = await Mesh.start({
      workloads,
      policies: route(`    - matches: [{ headers: [{ name: x-version, value: two }] }]
      backendRefs: [{ name: two, port: 8080 }]
    - backendRefs:
        - { name: one, port: 8080, weight: 90 }
        - { name: two, port: 8080, weight: 10 }`),
    })
    const client = mesh.get('client')
    const counts = { one: 0, two: 0 }
    for (let i = 0; i < 1_000; i++) counts[(await call(client, 'http://one:8080/')).headers['x-name'] as 'one']++
    assert.ok(counts.two >= 60 && counts.two <= 140, JSON.stringify(counts))
    for (let i = 0; i < 20; i++) {
      assert.equal(
        (await call(client, 'http://one:8080/', { headers: { 'x-version': 'two' } })).headers['x-name'],
        'two',
      )
    }
  })

  it('modifies headers, rewrites, redirects and mirrors', async () => {
    await using mesh = await Mesh.start({
      workloads,
      policies: route(`    - matches: [{ path: { type: PathPrefix, value: /old } }]
      filters:
        - type: URLRewrite
          urlRewrite: { hostname: other.test, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }
        - type: RequestHeaderModifier
          requestHeaderModifier: { set: [{ name: x-set, value: "1" }], add: [{ name: x-add, value: "2" }], remove: [x-remove] }
        - type: ResponseHeaderModifier
          responseHeaderModifier: { set: [{ name: x-answer, value: "3" }] }
      backendRefs: [{ name: one, port: 8080 }]
    - matches: [{ path: { type: PathPrefix, value: /moved } }]
      filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, hostname: new.test, statusCode: 301 } }]
    - matches: [{ path: { type: PathPrefix, value: /mirror } }]
      filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: two, port: 8080 } } }]
      backendRefs: [{ name: one, port: 8080 }]`),
    })
    const client = mesh.get('client')
    const rewritten = await call(client, 'http://one:8080/old/x?y=z', { headers: { 'x-remove': 'me' } })
    assert.equal(rewritten.headers['x-url'], '/new/x?y=z')
    assert.equal(rewritten.headers['x-answer'], '3')
    const seen = JSON.parse(String(rewritten.headers['x-headers'])) as Record<string, string>
    assert.deepEqual(
      [seen['host'], seen['x-set'], seen['x-add'], seen['x-remove']],
      ['other.test', '1', '2', undefined],
    )
    const moved = await call(client, 'http://one:8080/moved/x')
    assert.deepEqual([moved.status, moved.headers['location']], [301, 'https://new.test/moved/x'])
    const mirrored = mesh.get('two').seen
    assert.equal(
      (await call(client, 'http://one:8080/mirror', { method: 'POST', body: 'copy' })).headers['x-name'],
      'one',
    )
    while (mesh.get('two').seen === mirrored) await new Promise((resolve) => setImmediate(resolve))
  })

  it('retries what failed, sends the body again, and counts on the budget', async () => {
    let failures = 0
    await using mesh = await Mesh.start({
      workloads: [
        { name: 'client' },
        {
          name: 'flaky',
          app: (req, res) => {
            let body = ''
            req.on('data', (chunk) => {
              body += String(chunk)
            })
            req.on('end', () => {
              if (failures-- > 0) res.writeHead(503).end()
              else res.end(body)
            })
          },
        },
      ],
      policies: `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: flaky, namespace: test }
spec:
  parentRefs: [{ group: "", kind: Service, name: flaky }]
  rules:
    - retry: { attempts: 2, codes: [503], backoff: 1ms }
      backendRefs: [{ name: flaky, port: 8080 }]
`,
    })
    const client = mesh.get('client')
    failures = 2
    const answer = await call(client, 'http://flaky:8080/', { method: 'PUT', body: 'again' })
    assert.deepEqual([answer.status, answer.body, mesh.get('flaky').seen], [200, 'again', 3])
    failures = 1
    // POST is not idempotent and its bytes were sent: no second delivery.
    assert.equal((await call(client, 'http://flaky:8080/', { method: 'POST', body: 'once' })).status, 503)
    assert.equal(mesh.get('flaky').seen, 4)
  })
})
