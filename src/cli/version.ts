import { type Command, Option } from 'commander'
import manifest from '../../package.json' with { type: 'json' }

/** The version of this program: `0.1.0`. */
export const version: string = manifest.version

/** Adds `outrigger version`. */
export function registerVersion(program: Command): void {
  program
    .command('version')
    .description('Print the version of this program and what it runs on.')
    .option('--short', 'the number alone')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      '\nExamples:\n  outrigger version\n  outrigger version --short\n  outrigger version -o json\n',
    )
    .action(({ short, output }: { short?: true; output: string }) => {
      const facts = { version, node: process.version, platform: `${process.platform}-${process.arch}` }
      if (short) console.log(version)
      else if (output === 'json') console.log(JSON.stringify(facts))
      else console.log(`outrigger ${version} (node ${facts.node}, ${facts.platform})`)
    })
}
