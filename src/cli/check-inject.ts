import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { addClusterOptions, type ClusterOptions } from './cluster/open.ts'
import { paint } from './table.ts'

interface Options extends ClusterOptions {
  readonly output: 'text' | 'json'
}

/** Why one Pod has a sidecar, or none. */
export interface Verdict {
  /** `Pod shop/web-1`, `Deployment shop/web`. */
  readonly of: string
  /** Of a Pod that runs: whether it has one; of a file: whether it would get one. */
  readonly injected: boolean
  /** It asks for one and cannot have it. */
  readonly refused: boolean
  readonly reasons: readonly string[]
  readonly remedy?: string
}

/** Adds `outrigger check inject`. */
export function registerCheckInject(check: Command): void {
  const command: Command = check
    .command('inject')
    .argument('<pod-or-file>', 'NS/POD, POD.NS, POD in the namespace of -n, or a file of manifests')
    .description('Why a Pod has a sidecar or has none; for a file, whether its Pods would get one in this cluster.')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
  addClusterOptions(command)
    .addHelpText(
      'after',
      '\nExamples:\n  outrigger check inject shop/web-7c9d8-x2x4v\n  outrigger check inject deployment.yaml -n shop\n\n' +
        'Exit codes: 0 it has one, or would get one; 1 not; 2 wrong command line.\n',
    )
    .action(async (what: string, _own: Options, self: Command) => {
      // The flags of `check` are accepted on both sides of `inject`.
      const options = self.optsWithGlobals<Options>()
      const [{ withCluster }, { judgeFile, judgePod }] = await Promise.all([
        import('./cluster/open.ts'),
        import('./check/inject.ts'),
      ])
      const verdicts = await withCluster(options, (opened) =>
        existsSync(what) ? judgeFile(opened, what) : judgePod(opened, what),
      )
      process.stdout.write(
        options.output === 'json' ? `${JSON.stringify(verdicts, null, 2)}\n` : verdicts.map(verdictText).join('\n'),
      )
      if (verdicts.length === 0) process.stderr.write(`no Pod or Pod template in ${what}\n`)
      if (verdicts.some(({ injected }) => !injected) || verdicts.length === 0) process.exitCode = 1
    })
}

function verdictText({ of, injected, refused, reasons, remedy }: Verdict): string {
  const head = injected
    ? paint('green', 'sidecar')
    : paint(refused ? 'red' : 'yellow', refused ? 'refused' : 'no sidecar')
  return [
    `${of}: ${head}`,
    ...reasons.map((reason) => `  ${reason}`),
    ...(remedy === undefined ? [] : [`  remedy: ${remedy}`]),
  ]
    .join('\n')
    .concat('\n')
}
