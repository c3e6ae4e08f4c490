/** The node as a whole: built, up, down. One per machine; whoever finds it up uses it and leaves it up. */
import { existsSync } from 'node:fs'
import { run } from './command.ts'
import { loadImages, writeImages } from './images.ts'
import { kubeconfig, script } from './state.ts'

const buildLimitMs = 60 * 60_000
const upLimitMs = 5 * 60_000

/** A node that is up, with this tree's images in it. */
export interface Node extends AsyncDisposable {
  /** False when it was up before: then disposing leaves it. */
  readonly isOurs: boolean
}

/**
 * Builds what is missing, brings the node up unless it is, and puts the images of this tree into it.
 * OUTRIGGER_CLUSTER_KEEP=1 leaves it up afterwards, which saves ten seconds for the next run.
 */
export async function openNode(): Promise<Node> {
  // Progress, which takes minutes the first time, belongs before the person who waits.
  await run(script('build'), [], { timeoutMs: buildLimitMs, progress: true })
  writeImages()
  const before = existsSync(kubeconfig) && (await isUp())
  await run(script('up'), [], { timeoutMs: upLimitMs, progress: true })
  await loadImages()
  const isOurs = !before && process.env['OUTRIGGER_CLUSTER_KEEP'] !== '1'
  return {
    isOurs,
    async [Symbol.asyncDispose]() {
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
