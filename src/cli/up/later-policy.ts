import { rmSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve, sep } from 'node:path'

/**
 * The last overlay: an empty folder that a scenario's `apply` puts documents in while the mesh runs, so that the files
 * of the example itself are never changed.
 */
export class LaterPolicy implements Disposable {
  readonly folder: string
  readonly #scenario: string | undefined

  private constructor(folder: string, scenario: string | undefined) {
    this.folder = folder
    this.#scenario = scenario
  }

  /** `scenario` is the folder that the files of `apply` are in. */
  static async open(scenario: string | undefined): Promise<LaterPolicy> {
    const folder = await mkdtemp(join(tmpdir(), 'outrigger-later-'))
    await mkdir(join(folder, 'policy'))
    return new LaterPolicy(join(folder, 'policy'), scenario)
  }

  /** Puts a file beside scenario.yaml in force. Throws when there is none. */
  async apply(file: string): Promise<void> {
    const root = resolve(this.#scenario ?? '.')
    const from = resolve(root, file)
    if (!from.startsWith(root + sep)) throw new Error(`apply: ${file} is outside the scenario's folder ${root}`)
    // Written beside the folder and moved in, so that the control plane never reads half of it.
    const draft = join(this.folder, '..', basename(file))
    await copyFile(from, draft).catch((error: unknown) => {
      throw new Error(`apply: cannot read ${from}`, { cause: error })
    })
    await rename(draft, join(this.folder, basename(file)))
  }

  /** Takes all of them back. */
  async reset(): Promise<void> {
    for (const name of await readdir(this.folder)) await rm(join(this.folder, name))
  }

  [Symbol.dispose](): void {
    rmSync(join(this.folder, '..'), { recursive: true, force: true })
  }
}
