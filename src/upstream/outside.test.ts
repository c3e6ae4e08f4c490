import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { describe, it } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import type { MeshError } from '../base/errors.ts'
import { Outside } from './outside.ts'

function setup(answers: Record<string, string | undefined> = {}) {
  const clock = new FakeClock()
  const asked: string[] = []
  const outside = new Outside({
    clock,
    ownPorts: () => [15_001],
    lookup: (host) => {
      asked.push(host)
      const address = answers[host]
      return address === undefined ? Promise.reject(new Error('ENOTFOUND')) : Promise.resolve({ address })
    },
  })
  return { clock, asked, outside }
}

const code = (wanted: string) => (error: unknown) => (error as MeshError).code === wanted

describe('a destination outside the mesh', () => {
  it('is keyed by what its name means, so that a pool never outlives a change of DNS', async () => {
    const answers: Record<string, string> = { 'a.example': '192.0.2.1', 'b.example': '2001:db8::1' }
    const { clock, asked, outside } = setup(answers)
    const wanted = { key: '192.0.2.1:80', address: '192.0.2.1', port: 80, identity: '' }
    assert.deepEqual(await outside.find('a.example', 80), wanted)
    assert.deepEqual(await outside.find('192.0.2.1', 80), wanted)
    assert.equal((await outside.find('b.example', 80)).key, '[2001:db8::1]:80')
    answers['a.example'] = '192.0.2.2'
    assert.equal((await outside.find('a.example', 80)).key, '192.0.2.1:80')
    assert.deepEqual(asked, ['a.example', 'b.example'])
    await clock.advance(5_000)
    assert.equal((await outside.find('a.example', 80)).key, '192.0.2.2:80')
  })

  it('is asked for once by many, and again after a failure', async () => {
    const answers: Record<string, string> = {}
    const { asked, outside } = setup(answers)
    const all = await Promise.allSettled([outside.find('a.example', 80), outside.find('a.example', 80)])
    for (const result of all) assert.ok(result.status === 'rejected' && code('UNKNOWN_DESTINATION')(result.reason))
    assert.equal(asked.length, 1)
    answers['a.example'] = '192.0.2.1'
    assert.equal((await outside.find('a.example', 80)).address, '192.0.2.1')
  })

  it('that was known stays known while DNS fails or hangs, for ten minutes; not if it says that the name is gone', async () => {
    const clock = new FakeClock()
    let lookup: () => Promise<{ address: string }> = () => Promise.resolve({ address: '192.0.2.1' })
    const outside = new Outside({ clock, ownPorts: () => [], lookup: () => lookup() })
    const find = async (): Promise<string> => {
      const found = outside.find('a.example', 80).then(
        ({ address }) => address,
        (error: MeshError) => error.code,
      )
      await clock.advance(1_000)
      return found
    }
    assert.equal(await find(), '192.0.2.1')
    const broken = [
      () => Promise.reject(Object.assign(new Error('try again'), { code: 'EAI_AGAIN' })),
      () => new Promise<never>(() => {}),
    ]
    for (const way of broken) {
      lookup = way
      await clock.advance(240_000)
      assert.equal(await find(), '192.0.2.1')
      assert.equal(clock.pendingTimers, 0)
    }
    lookup = broken[0]!
    await clock.advance(240_000)
    assert.equal(await find(), 'UNKNOWN_DESTINATION')
    lookup = () => Promise.resolve({ address: '192.0.2.2' })
    assert.equal(await find(), '192.0.2.2')
    await clock.advance(5_000)
    lookup = () => Promise.reject(Object.assign(new Error('gone'), { code: 'ENOTFOUND' }))
    assert.equal(await find(), 'UNKNOWN_DESTINATION')
  })

  it('is forgotten when clients invent names', async () => {
    const answers = Object.fromEntries(Array.from({ length: 1_001 }, (_, i) => [`h${i}.example`, '192.0.2.1']))
    const { asked, outside } = setup(answers)
    for (const host of Object.keys(answers)) await outside.find(host, 80)
    await outside.find('h1000.example', 80)
    assert.equal(asked.length, 1_001)
    await outside.find('h0.example', 80)
    assert.equal(asked.length, 1_002)
  })

  for (const address of [
    '127.0.0.1',
    '127.255.0.9',
    '0.0.0.0',
    '169.254.169.254',
    '::1',
    '::',
    'fe80::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:a9fe:a9fe',
    'fd00:ec2::254',
    '100.100.100.200',
    '168.63.129.16',
  ]) {
    it(`is not ${address}, nor a name for it`, async () => {
      const { outside } = setup({ 'rebound.example': address })
      await assert.rejects(outside.find(address, 80), code('UNKNOWN_DESTINATION'))
      await assert.rejects(outside.find('rebound.example', 80), code('UNKNOWN_DESTINATION'))
    })
  }

  it('is what the application itself has dialled, unless that is the Pod', async () => {
    const { outside } = setup({})
    for (const address of ['169.254.169.254', '169.254.20.10', 'fd00:ec2::254', '100.100.100.200', '192.0.2.1'])
      assert.equal((await outside.find(address, 53, true)).address, address)
    for (const address of ['127.0.0.1', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1'])
      await assert.rejects(outside.find(address, 80, true), code('UNKNOWN_DESTINATION'))
  })

  it('is not this sidecar', async (t) => {
    const own = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .find(({ internal, family }) => !internal && family === 'IPv4')
    if (own === undefined) return t.skip('this machine has no address but loopback')
    const { outside } = setup()
    await assert.rejects(outside.find(own.address, 15_001), code('LOOP'))
    assert.equal((await outside.find(own.address, 8080)).address, own.address)
  })
})
