/** The node as a whole: built, up, down. One per machine; whoever finds it up uses it and leaves it up. */
import { run } from './command.ts'
import { loadImages, writeImages } from './images.ts'
import { script } from './state.ts'

const buildLimitMs = 60 * 60_000
const upLimitMs = 5 * 60_000
/** Set: no build, no images, the node as it stands. */
const asItIs = 'OUTRIGGER_CLUSTER_AS_IT_IS'

/** A node that is up, with this tree's images in it. */
export interface Node extends AsyncDisposable {
  /** False when it was up before: then disposing leaves it. */
  readonly isOurs: boolean
}

/**
 * Builds what is missing, brings the node up unless it is, and puts the images of this tree into it.
 * OUTRIGGER_CLUSTER_KEEP=1 leaves it up afterwards, which saves ten seconds for the next run. What this process starts
 * takes the node as it is now, whatever is edited meanwhile: all files of a lane test the same tree.
 */
export async function openNode(): Promise<Node> {
  if (process.env[asItIs] === '1') {
    if (await isUp()) return { isOurs: false, [Symbol.asyncDispose]: async () => {} }
    throw new Error(`${asItIs}=1 and no node is up: start it with test/cluster/up`)
  }
  const before = await isUp()
  await run(script('build'), [], { timeoutMs: buildLimitMs, progress: true })
  writeImages()
  await run(script('up'), [], { timeoutMs: upLimitMs, progress: true })
  await loadImages()
  process.env[asItIs] = '1'
  const isOurs = !before && process.env['OUTRIGGER_CLUSTER_KEEP'] !== '1'
  return {
    isOurs,
    async [Symbol.asyncDispose]() {
      delete process.env[asItIs]
      if (isOurs) await run(script('down'), [], { progress: true })
    },
  }
}

async function isUp(): Promise<boolean> {
  // It refuses when no node runs.
  return run(script('load'), ['--check']).then(
    () => true,
    () => false,
  )
}
