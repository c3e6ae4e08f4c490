import type { Command } from 'commander'
import { proxyFlags } from '../options.ts'

/**
 * Adds `outrigger proxy run` to the help. The command itself is dispatched by main.ts before commander is loaded, and
 * src/main.ts reads its flags; this is their description.
 */
export function registerProxyRun(program: Command): void {
  const proxy =
    program.commands.find((command) => command.name() === 'proxy') ??
    program.command('proxy').description('The sidecar: run it, look into it, capture traffic for it.')
  const run = proxy
    .command('run')
    .description(
      'Run one sidecar. Every flag is also an environment variable: --state-dir is OUTRIGGER_STATE_DIR.\n' +
        'It is ready when GET http://ADDRESS:15021/healthz/ready answers 200.',
    )
    .addHelpText(
      'after',
      `
Example:
  outrigger token shop/web > /run/token
  outrigger proxy run --workload shop/web --control-plane 127.0.0.1:15012 --trust-bundle roots.pem \\
    --token-file /run/token --capture explicit --inbound 127.1.0.3:8080=127.1.0.3:18080 --outbound 127.1.0.3:15001
`,
    )
  for (const [name, flag] of Object.entries<{ help: string; default?: string }>(proxyFlags)) {
    run.option(`--${name} <value>`, flag.help, flag.default)
  }
}
