import type { Command } from 'commander'

/**
 * Adds `outrigger proxy run` to the help. The command itself is dispatched by main.ts before commander is loaded, and
 * src/main.ts reads its flags; this is their description.
 */
export function registerProxyRun(program: Command): void {
  const proxy =
    program.commands.find((command) => command.name() === 'proxy') ??
    program.command('proxy').description('The sidecar: run it, and capture traffic for it.')
  proxy
    .command('run')
    .description(
      'Run one sidecar. Every flag is also an environment variable: --state-dir is OUTRIGGER_STATE_DIR.\n' +
        'It is ready when GET http://ADDRESS:15021/healthz/ready answers 200.',
    )
    .requiredOption('--workload <ns/name>', 'the Pod that it stands beside')
    .option('--control-plane <host:port>', 'where policy and certificates come from', 'localhost:15012')
    .option('--trust-bundle <file>', 'PEM of the roots that the control plane must show')
    .option('--token-file <file>', 'proof of identity, from a file')
    .option('--token-fd <number>', 'proof of identity, from an inherited file descriptor')
    .option('--state-dir <folder>', 'key, certificate and last good policy')
    .option('--address <ip>', 'address of the workload, when the flags below leave it out')
    .option('--capture <mode>', 'explicit (the application calls the proxy) or redirect (iptables)')
    .option('--inbound <listen=app>', '127.1.0.3:8080=127.1.0.3:18080; repeat it for each port')
    .option('--outbound <ip:port>', 'what the application calls as its http_proxy')
    .option('--admin <ip:port>', 'stats, loopback only')
    .option('--metrics <ip:port>', 'Prometheus')
    .option('--health <ip:port>', 'readiness')
    .option('--traces <url>', 'OTLP endpoint for sampled traces')
    .option('--access-log <form>', 'off, text or json, on stdout')
    .option('--drain-timeout <duration>', 'how long requests may take to end after SIGTERM')
    .addHelpText(
      'after',
      `
Example:
  outrigger token shop/web > /run/token
  outrigger proxy run --workload shop/web --control-plane 127.0.0.1:15012 --trust-bundle roots.pem \\
    --token-file /run/token --capture explicit --inbound 127.1.0.3:8080=127.1.0.3:18080 --outbound 127.1.0.3:15001
`,
    )
}
