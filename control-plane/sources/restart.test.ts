import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { StateFolder } from '../../src/base/state-folder.ts'
import { LinesLog, temporaryFolder } from '../../test/support/control.ts'
import { FakeClock, settle } from '../../test/support/fake-clock.ts'
import { FilesSource } from './files.ts'

const policy = (name: string, action = 'DENY') =>
  `apiVersion: outrigger.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: test}\nspec: {action: ${action}, rules: [{}]}\n`
const service = (name: string, port: number | string) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: ${port}}]}\n`

/** A folder of documents with a state folder beside it, and the runs of a source on them. */
class Runs implements Disposable {
  readonly clock = new FakeClock()
  readonly log = new LinesLog()
  readonly documents: string
  readonly statePath: string
  readonly #folder = temporaryFolder()

  constructor() {
    this.documents = join(this.#folder.path, 'documents')
    this.statePath = join(this.#folder.path, 'state')
    mkdirSync(this.documents)
  }

  write(name: string, ...documents: string[]): void {
    writeFileSync(join(this.documents, name), documents.join('---\n'))
  }

  /** Starts a source, does something with it, and stops it. */
  async run(use: (source: FilesSource) => void | Promise<void>): Promise<void> {
    using state = StateFolder.open(this.statePath)
    const source = new FilesSource({ folders: [this.documents], clock: this.clock, state, log: this.log })
    try {
      const started = source.start()
      let isStarted = false
      void started.then(() => {
        isStarted = true
      })
      while (!isStarted) {
        await this.clock.advance(50)
        await settle()
      }
      await started
      await use(source)
    } finally {
      await source.stop()
    }
  }

  /** Lets the poll see what was written. */
  async poll(source: FilesSource, isSo: () => boolean): Promise<void> {
    for (let round = 0; !isSo(); round++) {
      assert.ok(round < 1_000, `still not so: ${JSON.stringify(source.current.problems)}`)
      await this.clock.advance(2_000)
    }
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]()
  }
}

function inForce({ current }: FilesSource): string[] {
  return current.documents
    .map((d) =>
      d.kind === 'Service'
        ? `${d.name}:${d.value.spec.ports[0]?.port}`
        : d.kind === 'AuthorizationPolicy'
          ? `${d.name} ${d.value.spec.action}`
          : d.kind,
    )
    .sort()
}

const messages = ({ current }: FilesSource): string[] => current.problems.map(({ problem }) => problem.message)

test('a document that became invalid while nothing ran stays in force as it was, and says since when', async () => {
  using runs = new Runs()
  runs.write('a.yaml', policy('x'), service('s', 80))
  const beganAt = runs.clock.wall()
  await runs.run((source) => {
    assert.deepEqual(inForce(source), ['s:80', 'x DENY'])
  })
  // The clock may go on between the reading of a file and the end of the start.
  const readBy = runs.clock.wall()
  await runs.clock.advance(3_600_000)
  runs.write('a.yaml', policy('x', 'DENI'), service('s', 81))
  await runs.run((source) => {
    assert.deepEqual(inForce(source), ['s:81', 'x DENY'])
    assert.deepEqual(source.current.blocking, [])
    assert.equal(source.current.problems.length, 1)
    const message = messages(source)[0]!
    const since = /last good of (\S+) in force for AuthorizationPolicy test\/x/.exec(message)?.[1]
    assert.ok(since !== undefined, message)
    assert.ok(Date.parse(since) >= beganAt && Date.parse(since) <= readBy, `${message}: read by ${readBy}`)
  })
  // And after another restart, from what the second one kept.
  await runs.run((source) => assert.deepEqual(inForce(source), ['s:81', 'x DENY']))
  runs.write('a.yaml', policy('x', 'ALLOW'), service('s', 81))
  await runs.run((source) => {
    assert.deepEqual(inForce(source), ['s:81', 'x ALLOW'])
    assert.deepEqual(source.current.problems, [])
  })
})

test('documents of one file that are in force by different texts come back each as it was', async () => {
  using runs = new Runs()
  runs.write('a.yaml', service('s', 1), service('t', 1))
  await runs.run(async (source) => {
    runs.write('a.yaml', service('s', 'one'), service('t', 2))
    await runs.poll(source, () => inForce(source).includes('t:2'))
    runs.write('a.yaml', service('s', 'one'), service('t', 'two'))
    await runs.poll(source, () => source.current.problems.length === 2)
    assert.deepEqual(inForce(source), ['s:1', 't:2'])
  })
  await runs.run((source) => assert.deepEqual(inForce(source), ['s:1', 't:2']))
})

test('a file that is empty, binary, cut or of another encoding after a crash deletes nothing', async () => {
  for (const bytes of ['', '\0\0\0', policy('x').slice(0, 30), '\uFEFFapiVersion: [']) {
    using runs = new Runs()
    runs.write('a.yaml', policy('x'), service('s', 1))
    await runs.run(() => {})
    runs.write('a.yaml', bytes)
    await runs.run((source) => {
      assert.deepEqual(inForce(source), ['s:1', 'x DENY'], JSON.stringify(bytes))
      assert.deepEqual(source.current.blocking, [])
      assert.match(
        messages(source)[0]!,
        /last good of .* in force for AuthorizationPolicy test\/x, Service default\/s$/,
      )
    })
  }
})

test('what was deleted while nothing ran is gone', async () => {
  using runs = new Runs()
  runs.write('a.yaml', policy('x'), service('s', 1))
  runs.write('b.yaml', policy('y'))
  await runs.run(() => {})
  runs.write('a.yaml', service('s', 1))
  rmSync(join(runs.documents, 'b.yaml'))
  await runs.run((source) => {
    assert.deepEqual(inForce(source), ['s:1'])
    assert.deepEqual(source.current.problems, [])
  })
})

test('a document that was moved and spoiled in one go stays in force, across a restart and while it runs', async () => {
  using runs = new Runs()
  runs.write('a.yaml', policy('x'))
  await runs.run(() => {})
  const move = (from: string, to: string): void => {
    renameSync(join(runs.documents, from), join(runs.documents, to))
    runs.write(to, policy('x', 'DENI'))
  }
  move('a.yaml', 'b.yaml')
  await runs.run((source) => {
    assert.deepEqual(inForce(source), ['x DENY'])
    assert.deepEqual(source.current.blocking, [])
    assert.match(messages(source)[0]!, /last good of .* in force for AuthorizationPolicy test\/x/)
  })
  runs.write('b.yaml', policy('x'))
  await runs.run(async (source) => {
    assert.deepEqual(source.current.problems, [])
    move('b.yaml', 'c.yaml')
    await runs.poll(source, () => source.current.problems.length > 0)
    for (let at = 0; at < 10; at++) await runs.clock.advance(2_000)
    assert.deepEqual(inForce(source), ['x DENY'])
    runs.write('c.yaml', policy('x', 'ALLOW'))
    await runs.poll(source, () => source.current.problems.length === 0)
    assert.deepEqual(inForce(source), ['x ALLOW'])
    rmSync(join(runs.documents, 'c.yaml'))
    await runs.poll(source, () => source.current.documents.length === 0)
  })
})

test('without a last good version a policy that protects blocks, with one line that names its place, until it is in order', async () => {
  using runs = new Runs()
  runs.write('a.yaml', service('s', 1), policy('x', 'DENI'))
  await runs.run(async (source) => {
    const [problem] = source.current.blocking
    assert.equal(source.current.blocking.length, 1)
    assert.equal(`${problem?.line}:${problem?.column}`, '9:16')
    assert.match(
      problem?.message ?? '',
      /; there is no last good version of AuthorizationPolicy test\/x, and nothing is published before this is in order$/,
    )
    assert.deepEqual(
      source.current.problems.map((held) => held.problem),
      [problem],
    )
    assert.match(runs.log.lines.join('\n'), /^error .*a\.yaml:9:16: error: spec\.action: .*nothing is published[^\n]*$/)
    // Another edit does not change that, and is not one more line.
    runs.write('b.yaml', service('t', 1))
    await runs.poll(source, () => inForce(source).includes('t:1'))
    assert.equal(source.current.blocking.length, 1)
    assert.equal(runs.log.lines.length, 1)
  })
  // What was never in force is no last good version.
  await runs.run(async (source) => {
    assert.equal(source.current.blocking.length, 1)
    runs.write('a.yaml', service('s', 1), policy('x'))
    await runs.poll(source, () => source.current.blocking.length === 0)
    assert.deepEqual(inForce(source), ['s:1', 't:1', 'x DENY'])
    assert.match(runs.log.lines.at(-1)!, /published now/)
    // Once it runs, an edit keeps what was there and blocks nothing.
    runs.write('a.yaml', service('s', 1), policy('x', 'DENI'))
    await runs.poll(source, () => source.current.problems.length > 0)
    assert.deepEqual(source.current.blocking, [])
  })
  await runs.run((source) => {
    assert.deepEqual(source.current.blocking, [])
    assert.ok(inForce(source).includes('x DENY'))
  })
})

test('a restart is not stricter than the run before: what that one lived without blocks nothing, what is new does', async () => {
  using runs = new Runs()
  runs.write('a.yaml', service('s', 1))
  await runs.run(async (source) => {
    runs.write('new.yaml', policy('new', 'DENI'))
    await runs.poll(source, () => source.current.problems.length > 0)
    assert.deepEqual(source.current.blocking, [], 'it was never in force: nothing is lost')
  })
  await runs.run((source) => {
    assert.deepEqual(source.current.blocking, [])
    assert.equal(source.current.problems.length, 1)
  })
  runs.write('newer.yaml', policy('newer', 'DENI'))
  await runs.run((source) =>
    assert.match(
      source.current.blocking.map(({ message }) => message).join(),
      /no last good version of .* test\/newer,/,
    ),
  )
})

test('other kinds that are invalid block nothing', async () => {
  using runs = new Runs()
  runs.write('a.yaml', service('s', 'one'), service('t', 1))
  await runs.run((source) => {
    assert.deepEqual(inForce(source), ['t:1'])
    assert.deepEqual(source.current.blocking, [])
  })
})

test('a damaged store is told, and is as good as none', async () => {
  using runs = new Runs()
  runs.write('a.yaml', policy('x'))
  await runs.run(() => {})
  writeFileSync(join(runs.statePath, 'last-good-documents'), 'outrigger-documents 1 garbage')
  runs.write('a.yaml', policy('x', 'DENI'))
  await runs.run((source) => {
    assert.equal(source.current.blocking.length, 1)
    assert.match(
      messages(source).join('\n'),
      /the last good documents were not used at the start: their file is damaged/,
    )
  })
})

test('the same folder by another path has the same past', async () => {
  using runs = new Runs()
  runs.write('a.yaml', policy('x'))
  await runs.run(() => {})
  runs.write('a.yaml', policy('x', 'DENI'))
  using state = StateFolder.open(runs.statePath)
  const source = new FilesSource({ folders: [`${runs.documents}/../documents/`], clock: runs.clock, state })
  await source.start()
  assert.deepEqual(inForce(source), ['x DENY'])
  await source.stop()
})
