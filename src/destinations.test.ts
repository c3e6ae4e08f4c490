import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeClock } from '../test/support/fake-clock.ts'
import { MapSource } from '../test/support/map-source.ts'
import { Protocol } from './api/gen/outrigger_pb.ts'
import { BackendRegistry } from './balance/backends.ts'
import type { Clock, Timer } from './base/clock.ts'
import type { MeshError } from './base/errors.ts'
import { Destinations, type ServiceEntry } from './destinations.ts'

const spec = { port: 80, protocol: Protocol.HTTP1, endpointPort: 8080 }

function setup(clock: Clock = new FakeClock()) {
  const source = new MapSource()
  const backends = new BackendRegistry({ clock, onTransition: () => {}, onEjection: () => {} })
  const env = { clock, backends, send: () => Promise.reject(new Error('not sent')) }
  return { source, backends, destinations: new Destinations({ source, namespace: 'test', env, backends, clock }) }
}

const port = (entry: ServiceEntry | undefined): number | undefined => entry?.message.ports[0]?.port

describe('destinations', () => {
  it('a known service answers at once, and follows every change', () => {
    const { source, destinations } = setup()
    source.setService('one', spec)
    assert.equal(port(destinations.service('test/one') as ServiceEntry), 80)
    source.setService('one', { ...spec, port: 81 })
    assert.equal(port(destinations.service('test/one') as ServiceEntry), 81)
    source.remove('service/test/one')
    assert.equal(destinations.service('test/one'), undefined)
  })

  it('a name that nobody can tell about is refused in time, and works once it is told', async () => {
    const clock = new FakeClock()
    const { source, destinations } = setup(clock)
    source.silent = true
    const refused = assert.rejects(
      Promise.resolve(destinations.service('test/one')),
      (error) => (error as MeshError).code === 'POLICY_UNAVAILABLE',
    )
    await clock.advance(2_000)
    await refused
    assert.equal(clock.pendingTimers, 0)
    source.setService('one', spec)
    assert.equal(port(await destinations.service('test/one')), 80)
  })

  it('who waited in vain is not kept', async () => {
    const clock = new FakeClock()
    let cancelled = 0
    const counting: Clock = {
      now: () => clock.now(),
      wall: () => clock.wall(),
      random: () => clock.random(),
      every: (ms, callback) => clock.every(ms, callback),
      after: (ms, callback): Timer => {
        const timer = clock.after(ms, callback)
        return {
          cancel: () => {
            cancelled++
            timer.cancel()
          },
        }
      },
    }
    const { source, destinations } = setup(counting)
    source.silent = true
    for (let i = 0; i < 100; i++) {
      const refused = assert.rejects(Promise.resolve(destinations.service('test/one')))
      await clock.advance(2_000)
      await refused
    }
    source.setService('one', spec)
    assert.equal(cancelled, 0, 'each that was kept would have been told, and its timer cancelled')
  })

  it('rules wait for the endpoints that they send to', async () => {
    const clock = new FakeClock()
    const { source, destinations } = setup(clock)
    source.silent = true
    const pending = destinations.service('test/one')
    source.setService('one', spec)
    assert.equal(port(await pending), 80)
  })

  it('invented names are forgotten, during an outage too; what is called is not', () => {
    for (const silent of [false, true]) {
      const { source, destinations } = setup()
      source.setService('one', spec)
      void destinations.service('test/one')
      source.silent = silent
      for (let i = 0; i < 12_000; i++) {
        void destinations.service(`test/invented-${i}`)
        void destinations.address(`192.0.2.1:${i}`)
      }
      assert.ok(source.watched.length < 10_100, `${source.watched.length} names are watched`)
      assert.equal(port(destinations.service('test/one') as ServiceEntry), 80)
      source.setService('one', { ...spec, port: 81 })
      assert.equal(port(destinations.service('test/one') as ServiceEntry), 81)
      destinations.close()
      assert.equal(source.watched.length, 0)
    }
  })

  it('the endpoints of a service in use stay watched, whatever clients invent', () => {
    const { source, destinations } = setup()
    for (let i = 0; i < 11_000; i++) void destinations.service(`test/invented-${i}`)
    source.setService('one', spec)
    source.remove('endpoints/test/one')
    void destinations.service('test/one')
    assert.ok(source.watched.includes('endpoints/test/one'))
  })
})
