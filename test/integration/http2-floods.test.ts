/** Rows 17 to 20 and 24: floods of HTTP/2 at sidecars that are processes of their own, with what they cost and what reaches the application. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { http2Limits } from '../../src/http2/limits.ts'
import { badFrames } from '../attack/http2-frames.ts'
import { flags, frame, headers, numbers, ping, reset, settings, types, windowUpdate } from '../support/http2/frames.ts'
import { block, literal } from '../support/http2/hpack.ts'
import { RawHttp2, requestFields } from '../support/http2/raw.ts'
import { RealMesh } from '../support/real-mesh.ts'
import { openDescriptors, residentBytes } from '../support/real-process.ts'
import { eventually } from '../support/shop.ts'

const MiB = 1_048_576
const policies = `apiVersion: outrigger.dev/v1alpha1
kind: BackendPolicy
metadata: { name: server, namespace: test }
spec:
  targetRefs: [{ group: "", kind: Service, name: server }]
`

describe('floods of HTTP/2', () => {
  let mesh: RealMesh
  before(async () => {
    mesh = await RealMesh.start(policies)
  })
  after(() => mesh?.[Symbol.asyncDispose]())

  const doors = {
    outbound: { sidecar: 'client', at: () => mesh.outbound },
    inbound: { sidecar: 'server-a', at: () => ({ host: mesh.address('server-a'), port: 8_080 }) },
  } as const
  const request = (path = '/') => requestFields({ authority: 'server:8080', path })
  const seen = async (): Promise<number> => (await mesh.seen('server-a')) + (await mesh.seen('server-b'))

  /** Somebody else, on a connection of its own. */
  async function serve(door: keyof typeof doors): Promise<void> {
    using other = await RawHttp2.open(doors[door].at())
    assert.equal((await other.whole(other.request(request()))).status, 200, 'others are served')
  }

  interface Flood {
    readonly row: number
    readonly what: string
    /** Sent once, before the flood. */
    readonly first?: (client: RawHttp2) => Buffer
    readonly once: (i: number) => Buffer
    readonly times: number
  }
  const open = (client: RawHttp2): Buffer => headers(client.nextStream(), block(request('/held')), flags.endHeaders)
  const floods: readonly Flood[] = [
    {
      row: 17,
      what: 'requests that are taken back at once (rapid reset, CVE-2023-44487)',
      once: (i) => Buffer.concat([headers(2 * i + 1, block(request('/held'))), reset(2 * i + 1, 'CANCEL')]),
      times: 5_000,
    },
    {
      row: 17,
      what: 'requests that make the sidecar reset them (CVE-2025-8671)',
      once: (i) =>
        Buffer.concat([headers(2 * i + 1, block(request('/held')), flags.endHeaders), windowUpdate(2 * i + 1, 0)]),
      times: 5_000,
    },
    {
      row: 18,
      what: 'a head that does not end',
      first: (client) => headers(client.nextStream(), block(request()), flags.endStream),
      once: (i) => frame(types.continuation, 0, 1, literal(`x-${i}`, 'c'.repeat(1_000))),
      times: 2_000,
    },
    {
      row: 18,
      what: 'CONTINUATION of nothing',
      first: (client) => headers(client.nextStream(), block(request()), flags.endStream),
      once: () => frame(types.continuation, 0, 1),
      times: 20_000,
    },
    { row: 19, what: 'SETTINGS', once: () => settings({ initialWindowSize: 65_535 }), times: 20_000 },
    { row: 19, what: 'SETTINGS of nothing', once: () => settings(), times: 20_000 },
    { row: 19, what: 'PING', once: () => ping(), times: 20_000 },
    { row: 19, what: 'DATA of nothing', first: open, once: () => frame(types.data, 0, 1), times: 20_000 },
    {
      row: 19,
      what: 'DATA of nothing but padding',
      first: open,
      once: () => frame(types.data, flags.padded, 1, Buffer.from([3, 0, 0, 0])),
      times: 20_000,
    },
    {
      row: 19,
      what: 'PRIORITY',
      once: (i) => frame(types.priority, 0, 2 * i + 1, numbers(0, 0).subarray(0, 5)),
      times: 20_000,
    },
    { row: 19, what: 'WINDOW_UPDATE of one byte', once: () => windowUpdate(0, 1), times: 20_000 },
    { row: 19, what: 'frames that nobody knows', once: () => frame(0x20, 0, 0), times: 20_000 },
  ]

  for (const door of ['outbound', 'inbound'] as const) {
    for (const { row, what, first, once, times } of floods) {
      it(`row ${row}, ${door}: ${what}: the connection ends, others are served`, async () => {
        await serve(door)
        const pid = mesh.sidecar(doors[door].sidecar).pid
        const [residentBefore, seenBefore] = [residentBytes(pid), await seen()]
        using client = await RawHttp2.open(doors[door].at())
        await client.until(() => client.settings.maxConcurrentStreams !== undefined)
        if (first !== undefined) client.send(first(client))
        let mostResident = 0
        for (let i = 0; i < times && client.ended === undefined && client.goaway === undefined; ) {
          const until = Math.min(times, i + 100)
          const batch: Buffer[] = []
          for (; i < until; i++) batch.push(once(i))
          client.send(...batch)
          if (i === times / 2) await serve(door)
          await new Promise((resolve) => setImmediate(resolve))
          mostResident = Math.max(mostResident, residentBytes(pid))
        }
        assert.ok(await client.closed(), 'the connection is still open')
        assert.equal(client.goaway?.error, 'ENHANCE_YOUR_CALM')
        const grown = (Math.max(mostResident, residentBytes(pid)) - residentBefore) / MiB
        assert.ok(grown < 16, `${grown.toFixed(1)} MiB more`)
        await serve(door)
        // Its own requests, the two or three of others not counted.
        const started = (await seen()) - seenBefore - 3
        assert.ok(started <= 2 * http2Limits.resetsMax, `${started} requests reached the application`)
      })
    }

    it(`row 20, ${door}: streams past the limit are refused unprocessed, and the application never has more`, async () => {
      const seenBefore = await seen()
      using client = await RawHttp2.open(doors[door].at())
      await client.until(() => client.settings.maxConcurrentStreams !== undefined)
      const { maxConcurrentStreams = 0 } = client.settings
      assert.equal(maxConcurrentStreams, http2Limits.concurrentStreamsMax)
      const streams = Array.from({ length: maxConcurrentStreams + 50 }, () => client.request(request('/held')))
      await client.until(() => streams.slice(maxConcurrentStreams).every((stream) => client.answer(stream).over))
      const resets = streams.map((stream) => client.answer(stream).reset)
      assert.deepEqual(
        [
          resets.slice(0, maxConcurrentStreams).filter((reason) => reason !== undefined).length,
          ...new Set(resets.slice(maxConcurrentStreams)),
        ],
        [0, 'REFUSED_STREAM'],
      )
      await eventually('those within it arrive', async () => (await seen()) - seenBefore >= maxConcurrentStreams)
      assert.equal((await seen()) - seenBefore, maxConcurrentStreams)
      await serve(door)
    })

    it(`row 24, ${door}: frames that end a connection, thousands of times: their reasons, and nothing left behind`, async () => {
      const { at, sidecar } = doors[door]
      const pid = mesh.sidecar(sidecar).pid
      const round = async (problems: Set<string>): Promise<void> => {
        await Promise.all(
          badFrames.map(async ({ what, section, bytes, error }) => {
            using client = await RawHttp2.open(at())
            client.send(bytes)
            const ended = await client.closed()
            if (!ended) problems.add(`${what} (${section}): the connection is still open`)
            if (client.goaway?.error !== error)
              problems.add(`${what} (${section}): ${client.goaway?.error}, not ${error}`)
          }),
        )
      }
      const problems = new Set<string>()
      await round(problems)
      assert.deepEqual([...problems], [])
      // Compiled, and grown to what it needs.
      for (let i = 0; i < 10; i++) await round(problems)
      const [before, descriptors] = [residentBytes(pid), openDescriptors(pid)]
      for (let i = 0; i < 1_000 / 25; i++) await round(problems)
      assert.deepEqual([...problems], [])
      await eventually('no connection of theirs is left', () => openDescriptors(pid) <= descriptors)
      const grown = (residentBytes(pid) - before) / MiB
      assert.ok(grown < 16, `${grown.toFixed(1)} MiB more`)
      await serve(door)
      mesh.sidecar(sidecar).checkAlive()
    })
  }
})
