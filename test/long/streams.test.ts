/** 1 GiB each way, by every carrier, in plaintext and over mTLS, with flat memory; and what test/integration/streams.test.ts tries. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { byteByByte, held, kindText, MiB, StreamMesh, streamKinds, transfer } from '../support/streams.ts'

const bytes = 1_024 * MiB
/** Of this process, which is client, server and both sidecars: garbage that is not collected yet, mostly. */
const growthMax = 160 * MiB

for (const mode of ['DISABLE', 'STRICT'] as const) {
  describe(`1 GiB, mTLS ${mode}`, { timeout: 30 * 60_000 }, () => {
    let mesh: StreamMesh
    before(async () => {
      mesh = await StreamMesh.start(mode)
      // Buffers and code that any first stream needs.
      await transfer(await mesh.open({ carrier: 'counted', way: 'up' }, 64 * MiB), 64 * MiB)
    })
    after(() => mesh[Symbol.asyncDispose]())

    for (const kind of streamKinds) {
      it(`${kindText(kind)}: 10,000 writes of one byte`, () => byteByByte(mesh, kind))
      it(`${kindText(kind)}: a reader that stands still`, () => held(mesh, kind))
      for (const slowly of [false, true]) {
        it(`${kindText(kind)}${slowly ? ', a slow reader' : ''}`, async () => {
          const started = performance.now()
          const { grownBytes } = await transfer(await mesh.open(kind, bytes), bytes, { slowly })
          const seconds = (performance.now() - started) / 1_000
          process.stdout.write(
            `# ${mode} ${kindText(kind)}${slowly ? ' slowly' : ''}: ${seconds.toFixed(1)} s, ${(grownBytes / MiB).toFixed(0)} MiB more\n`,
          )
          assert.ok(grownBytes < growthMax, `${grownBytes / MiB} MiB more`)
        })
      }
    }
  })
}
