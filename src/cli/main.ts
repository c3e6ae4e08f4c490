// The 'outrigger' command. A sidecar is started often and must stay small: it is dispatched before anything else is
// loaded, the other commands each load what they need.
const args = process.argv.slice(2)
const [first, second, ...rest] = args

if (first === 'proxy' && second === 'run' && !rest.includes('--help') && !rest.includes('-h')) {
  const { runProxy } = await import('../main.ts')
  await runProxy(rest)
} else {
  const { runCommand } = await import('./commands.ts')
  await runCommand(args)
}
