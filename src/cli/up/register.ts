import { type Command, InvalidArgumentError, Option } from 'commander'
import type { UpOptions } from './up.ts'

/** Adds `outrigger up`. */
export function registerUp(program: Command): void {
  program
    .command('up')
    .argument('<folder>', 'folder of YAML documents: Service, EndpointSlice, Pod, and policies')
    .description(
      'Run the mesh of a folder on this machine, send traffic through it and show what happens.\n' +
        'It starts a control plane, and for each Pod a sidecar and its command, without root (explicit capture).\n' +
        'Documents may be edited while it runs.',
    )
    .option('--scenario <name>', 'lay a scenario over it: a name in scenarios/ beside the folder, or a path')
    .option('--for <duration>', 'end after so long with a table of checks; exit code 0 if all hold', duration)
    .option('--rate <number>', 'requests a second, instead of what the documents or the scenario say', rate)
    .option('--no-load', 'send no traffic')
    .option('--state-dir <folder>', 'keys, certificates, logs (default: outrigger in your state folder)')
    .option('--host <address>', 'loopback address of the control plane', '127.0.0.1')
    .addOption(new Option('-o, --output <format>', 'json: one object a line').choices(['text', 'json']).default('text'))
    .addHelpText(
      'after',
      `
Examples:
  outrigger up examples/shop                                 until Ctrl-C
  outrigger up examples/shop --scenario retries              the same, with faults and retries
  outrigger up examples/shop --scenario canary --for 20s     for scripts: checks, exit code
  outrigger up examples/shop --no-load                       then: curl -x 127.1.0.2:15001 http://web:8080/

Where things are: a Pod's address is in its EndpointSlice. There its sidecar takes the ports of its containers, the
application listens 10000 above them, and 15001 is the http_proxy. Logs are in STATE_DIR/up/logs.
`,
    )
    .action(async (folder: string, options: Omit<UpOptions, 'folder'>) => {
      const { runUp } = await import('./up.ts')
      process.exitCode = await runUp({ ...options, folder })
    })
}

function duration(text: string): number {
  const match = /^(\d{1,5})(s|m|h)$/.exec(text)
  if (match === null || Number(match[1]) === 0)
    throw new InvalidArgumentError('Expected a duration such as 20s, 5m, 1h.')
  return Number(match[1]) * (match[2] === 's' ? 1_000 : match[2] === 'm' ? 60_000 : 3_600_000)
}

function rate(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= 5_000)) throw new InvalidArgumentError('Expected requests a second, up to 5000.')
  return value
}
