/** What the control plane may do is what its README says that it does, and covers every kind that it reads. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { it } from 'node:test'
import { type KindTraits, kindNames, kinds } from '../../src/api/policy/kinds.ts'
import { root } from '../cluster/state.ts'
import { find, renderWith } from './render.ts'

interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly verbs: readonly string[]
}

/** `WHERE GROUP/RESOURCE[NAMES] VERB`, one for each permission. */
function permissions(where: string, rules: readonly Rule[]): Set<string> {
  const all = rules.flatMap(({ apiGroups, resources, resourceNames = [], verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        (resourceNames.length === 0 ? [''] : resourceNames.map((name) => `[${name}]`)).flatMap((name) =>
          verbs.map((verb) => `${where} ${group}/${resource}${name} ${verb}`),
        ),
      ),
    ),
  )
  return new Set(all)
}

async function rendered(values: object = {}): Promise<Set<string>> {
  const documents = await renderWith(values)
  return new Set([
    ...permissions('cluster', find(documents, 'ClusterRole', 'outrigger').rules),
    ...permissions('own namespace', find(documents, 'Role', 'outrigger').rules),
  ])
}

function withStatus(own: readonly KindTraits[]): string[] {
  return own.map(({ plural }) => `${plural}/status`)
}

/** The table of control-plane/README.md. */
function documented(): Set<string> {
  const readme = readFileSync(path.join(root, 'control-plane/README.md'), 'utf8')
  const section = readme.slice(readme.indexOf('## In a cluster: what it asks of the API server'))
  const policies = kindNames
    .map((kind) => kinds[kind])
    .filter(({ apiVersion }) => apiVersion.startsWith('outrigger.dev/'))
  const routes = kindNames
    .map((kind) => kinds[kind])
    .filter(({ apiVersion }) => apiVersion.startsWith('gateway.networking.k8s.io/'))
  const rules: [string, Rule][] = []
  for (const line of section.split('\n')) {
    const cells = line.split(' | ').map((cell) => cell.replace(/^\| | \|$/, ''))
    const [groups = '', resources = '', verbs = '', where = ''] = cells
    if (!/^(?:cluster|own namespace)$/.test(where)) continue
    for (const group of groups.split(', ').map((name) => (name === 'core' ? '' : name.replaceAll('`', '')))) {
      const own = group === 'outrigger.dev' ? policies : routes
      const names = [...(/\[(.*)\]/.exec(resources)?.[1] ?? '').matchAll(/`([\w-]+)`/g)].map(([, name]) => name!)
      const written = [...resources.replace(/\[.*\]/, '').matchAll(/`([\w/-]+)`/gi)].map(([, name]) => name!)
      const meant =
        resources === 'every kind of ours'
          ? own.map(({ plural }) => plural)
          : written.flatMap((name) => (name === 'KIND/status' ? withStatus(own) : [name]))
      // `authority.secret` is a setting, whose default is among the others.
      const resourceNames = names.filter((name) => name !== 'authority')
      rules.push([where, { apiGroups: [group], resources: meant, resourceNames, verbs: verbs.split(', ') }])
    }
  }
  return new Set(rules.flatMap(([where, rule]) => [...permissions(where, [rule])]))
}

it("the roles are the README's table, no more and no less", async () => {
  const [chart, readme] = [await rendered(), documented()]
  assert.deepEqual([...chart].toSorted(), [...readme].toSorted())
})

it('every kind that the mesh reads can be listed and watched', async () => {
  const chart = await rendered()
  for (const kind of kindNames) {
    const { apiVersion, plural }: KindTraits = kinds[kind]
    const group = apiVersion.includes('/') ? apiVersion.split('/')[0]! : ''
    for (const verb of ['list', 'watch'])
      assert.ok(chart.has(`cluster ${group}/${plural} ${verb}`), `${verb} ${plural}`)
  }
})

it('no wildcard; of Secrets only our own, of ConfigMaps only the root; nothing is deleted', async () => {
  for (const permission of await rendered()) {
    assert.doesNotMatch(permission, /\*|\bdelete|impersonate|escalate|\bbind\b|exec/)
    assert.doesNotMatch(permission, /^cluster \/secrets/)
    if (permission.includes('/configmaps')) assert.match(permission, /\[outrigger-root\]/)
    if (permission.includes('/secrets')) assert.match(permission, /\[outrigger-ca(-state)?\]| create$/)
  }
})

it('the Secret of another name can be read, too', async () => {
  const chart = await rendered({ config: { authority: { secret: 'corporate-ca' } } })
  assert.ok(chart.has('own namespace /secrets[corporate-ca] get'))
})
