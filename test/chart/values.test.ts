/** Values that cannot be are refused before anything is installed, by name; those that can be reach the control plane. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Command } from 'commander'
import { controlPlaneConfigSchema, parseControlPlaneConfig } from '../../control-plane/config.ts'
import { registerControlPlane } from '../../src/cli/control-plane.ts'
import { parseDocuments } from '../cluster/cluster.ts'
import { find, type Manifest, render, renderWith, scenarios, tryWith } from './render.ts'

describe('Helm refuses', () => {
  const refusals: readonly (readonly [what: string, values: object | string, word: RegExp])[] = [
    ['an unknown value', { replica: 3 }, /replica/],
    ['an unknown value within another', { webhook: { failurepolicy: 'Fail' } }, /webhook.*failurepolicy/s],
    ['an unknown setting of the control plane', { config: { trustdomain: 'a' } }, /config.*trustdomain/s],
    ['an unknown setting of injection', { config: { injector: { mode: 'NONE' } } }, /config.*injector.*mode/s],
    ['a text for a number', { replicas: 'three' }, /replicas.*integer/s],
    ['no replica', { replicas: 0 }, /replicas/],
    [
      'a word that is none of the choices',
      { config: { injector: { interceptionMode: 'TPROXY' } } },
      /interceptionMode.*REDIRECT/s,
    ],
    ['a failurePolicy in lower case', { webhook: { failurePolicy: 'fail' } }, /failurePolicy.*Fail/s],
    ['more seconds than the API server waits', { webhook: { timeoutSeconds: 31 } }, /timeoutSeconds/],
    ['a duration without a unit', { config: { certificateLifetime: '24' } }, /certificateLifetime/],
    ['a trust domain that cannot be one', { config: { trustDomain: 'Example.ORG/x' } }, /trustDomain/],
    ['off without quotes, which is false in YAML', 'config: {accessLog: off}', /accessLog.*got boolean, want string/s],
    [
      'both ends of the autoscaler crossed',
      { autoscaling: { enabled: true, minReplicas: 4, maxReplicas: 2 } },
      /maxReplicas is 2/,
    ],
    ['cert-manager that is not there', { certManager: { enabled: true } }, /install cert-manager first/],
    ['an empty image', { image: { repository: '' } }, /repository/],
  ]
  for (const [what, values, word] of refusals) {
    it(what, async () => {
      const { status, stdout, stderr } = await tryWith(values)
      assert.notEqual(status, 0, stdout)
      assert.match(stderr, word)
    })
  }
})

describe('the control plane reads what the chart writes', () => {
  for (const scenario of scenarios) {
    it(`in ${scenario.name}`, async () => {
      const documents = parseDocuments(await render(scenario))
      const config = parseControlPlaneConfig(configText(documents), 'config.yaml')
      assert.equal(config.injector.image, 'outrigger:0.1.0')
      assert.equal(config.injector.interceptionMode, scenario.name === 'restricted' ? 'NONE' : 'REDIRECT')
      assert.equal(config.authority.managed, scenario.name !== 'cert-manager')
      const jaeger = 'http://outrigger-jaeger.outrigger-system.svc:4318'
      assert.equal(config.tracing.otlpEndpoint, scenario.name === 'try-out' ? jaeger : '')
    })
  }

  it('with its own defaults, where no value says otherwise', async () => {
    const config = parseControlPlaneConfig(configText(await renderWith({})), 'config.yaml')
    assert.deepEqual(config, controlPlaneConfigSchema.parse({ injector: { image: 'outrigger:0.1.0' } }))
  })

  it('with what values say, down to what an object around them leaves out', async () => {
    const values = {
      image: { repository: 'example/outrigger', tag: 'x' },
      jaeger: { enabled: true },
      config: {
        tracing: { otlpEndpoint: 'http://collector:4318' },
        accessLog: 'off',
        injector: { image: 'example/sidecar:y', resources: null },
        authority: null,
      },
    }
    const documents = await renderWith(values)
    const config = parseControlPlaneConfig(configText(documents), 'config.yaml')
    assert.equal(config.injector.image, 'example/sidecar:y')
    assert.equal(config.tracing.otlpEndpoint, 'http://collector:4318')
    assert.equal(config.authority.secret, 'outrigger-ca')
    assert.equal(
      find(documents, 'Deployment', 'outrigger').spec.template.spec.containers[0].image,
      'example/outrigger:x',
    )
  })

  it('by flags that its command has', async () => {
    const { args } = find(await renderWith({}), 'Deployment').spec.template.spec.containers[0]
    const program = new Command()
    registerControlPlane(program)
    let command = program
    for (const word of (args as string[]).filter((arg) => !arg.startsWith('-'))) {
      const next = command.commands.find((it) => it.name() === word)
      assert.ok(next, `there is no command ${word}`)
      command = next
    }
    for (const flag of (args as string[]).filter((arg) => arg.startsWith('-'))) {
      const name = flag.split('=', 1)[0]!
      assert.ok(
        command.options.some(({ long }) => long === name),
        `${command.name()} has no ${name}`,
      )
    }
  })

  it('anew after a change: the Deployment is another', async () => {
    const checksum = async (values: object): Promise<unknown> =>
      find(await renderWith(values), 'Deployment').spec.template.metadata.annotations['checksum/config']
    assert.equal(await checksum({}), await checksum({ logLevel: 'debug' }))
    assert.notEqual(await checksum({}), await checksum({ config: { accessLog: 'json' } }))
  })
})

function configText(documents: readonly Manifest[]): string {
  return find(documents, 'ConfigMap', 'outrigger-config').data['config.yaml']
}
