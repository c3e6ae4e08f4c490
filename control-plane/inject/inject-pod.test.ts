import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parse, stringify } from 'yaml'
import { marks } from '../../src/base/kubernetes-names.ts'
import { parseProxyOptions, proxyFlags } from '../../src/options.ts'
import { applyPatch } from '../../test/support/fake-api.ts'
import { parseControlPlaneConfig } from '../config.ts'
import { injectPod } from './inject-pod.ts'
import { jsonPatch } from './json-patch.ts'
import type { Container, Pod } from './pod.ts'

const folder = join(import.meta.dirname, 'testdata')
const isUpdate = process.env['UPDATE_GOLDEN'] === '1'

interface Case {
  readonly pod: Pod
  readonly config?: object
  readonly namespaceLabels?: Readonly<Record<string, string>>
}

function inject({ pod, config, namespaceLabels = { [marks.inject]: 'enabled' } }: Case) {
  const settings = parseControlPlaneConfig(stringify(config ?? { injector: { image: 'outrigger:1' } }), 'config')
  const namespace = pod.metadata?.namespace ?? 'default'
  return injectPod(pod, { namespace, namespaceLabels }, { config: settings, systemNamespace: 'outrigger-system' })
}

/** What the sidecar and its launcher read. */
const known = new Set([...Object.values(proxyFlags).map(({ env }) => env), 'OUTRIGGER_NODE_FLAGS'] as string[])

for (const file of readdirSync(join(folder, 'in'))) {
  describe(file, () => {
    const given = parse(readFileSync(join(folder, 'in', file), 'utf8')) as Case
    const before = structuredClone(given.pod)
    const result = inject(given)

    it('comes out as expected', () => {
      const text = stringify(result, { lineWidth: 120 })
      const path = join(folder, 'out', file)
      if (isUpdate) writeFileSync(path, text)
      assert.ok(existsSync(path), `no expected outcome: run with UPDATE_GOLDEN=1 and read ${path}`)
      assert.deepEqual(parse(text), parse(readFileSync(path, 'utf8')))
      assert.deepEqual(given.pod, before, 'what was given is as it was')
      for (const warning of result.warnings) assert.ok(`outrigger: ${warning}`.length <= 250, warning)
    })
    if (result.is !== 'injected') return

    it('is reached by its patch, which changes nothing else', () => {
      const copy = structuredClone(given.pod)
      const patch = jsonPatch(given.pod, result.pod)
      assert.equal(applyPatch(copy, patch), undefined)
      assert.deepEqual(copy, JSON.parse(JSON.stringify(result.pod)))
      for (const { path } of patch)
        assert.match(path, /^\/(metadata\/(labels|annotations)|spec\/(initContainers|containers|volumes))/)
      // What the owner wrote is in it only where it was changed.
      assert.ok(!patch.some(({ path }) => path === '/spec/containers'), 'containers are not replaced')
      assert.deepEqual(jsonPatch(result.pod, result.pod), [])
    })

    it('injected again is the same', () => {
      const again = inject({ ...given, pod: result.pod })
      assert.deepEqual(again, { is: 'skip', code: 'injected', reason: 'it has a sidecar already', warnings: [] })
    })

    it('its sidecar understands what it is told, and satisfies "restricted"', () => {
      const { initContainers = [], containers = [] } = result.pod.spec ?? {}
      const proxy = [...initContainers, ...containers].find(({ name }) => name === 'outrigger-proxy')!
      for (const { name } of proxy.env ?? []) {
        if (name.startsWith('OUTRIGGER_')) assert.ok(known.has(name), `${name} is read by nobody`)
      }
      const env = Object.fromEntries((proxy.env ?? []).map(({ name, value }) => [name, value]))
      const options = parseProxyOptions([], { ...env, OUTRIGGER_WORKLOAD: 'shop/web-0' })
      for (const [path, probe] of Object.entries(options.appProbes)) {
        assert.match(path, /^\/app-health\//)
        assert.ok(probe.port > 0)
      }
      assertRestricted(proxy)
      const volumes = new Set((result.pod.spec?.volumes ?? []).map(({ name }) => name))
      for (const { name } of proxy['volumeMounts'] as { name: string }[]) assert.ok(volumes.has(name))
    })
  })
}

/** Pod Security Standards, "restricted", as far as it is about one container. */
function assertRestricted({ securityContext = {} }: Container): void {
  assert.equal(securityContext['allowPrivilegeEscalation'], false)
  assert.equal(securityContext['runAsNonRoot'], true)
  assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] })
  assert.deepEqual(securityContext['seccompProfile'], { type: 'RuntimeDefault' })
  assert.equal(securityContext['readOnlyRootFilesystem'], true)
}

describe('jsonPatch', () => {
  it('escapes keys, takes away what is gone, and replaces lists that have no names', () => {
    const before = { a: { 'x/y~z': 1, gone: 1 }, list: [1, 2], named: [{ name: 'a' }, { name: 'b', v: 1 }] }
    const after = { a: { 'x/y~z': 2 }, list: [1, 3], named: [{ name: 'n' }, { name: 'a' }, { name: 'b', v: 2 }] }
    const patch = jsonPatch(before, after)
    assert.deepEqual(patch, [
      { op: 'remove', path: '/a/gone' },
      { op: 'replace', path: '/a/x~1y~0z', value: 2 },
      { op: 'replace', path: '/list', value: [1, 3] },
      { op: 'add', path: '/named/0', value: { name: 'n' } },
      { op: 'replace', path: '/named/2/v', value: 2 },
    ])
    assert.equal(applyPatch(before, patch), undefined)
    assert.deepEqual(before, after)
  })

  it('replaces a list in which something moved or went', () => {
    const [a, b] = [{ name: 'a' }, { name: 'b' }]
    assert.deepEqual(jsonPatch([a, b], [b, a]), [{ op: 'replace', path: '', value: [b, a] }])
    assert.deepEqual(jsonPatch({ l: [a, b] }, { l: [b] }), [{ op: 'replace', path: '/l', value: [b] }])
    assert.deepEqual(jsonPatch({ l: [a, a] }, { l: [a] }), [{ op: 'replace', path: '/l', value: [a] }])
  })
})
