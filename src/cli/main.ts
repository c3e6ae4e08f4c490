// The 'outrigger' command. A sidecar is started often and must stay small: it is dispatched before anything else is
// loaded, the other commands each load what they need.
import { enableCompileCache } from 'node:module'

// Sources are compiled at each start, which is half of it, unless what comes out is kept. What is built is compiled already.
if (import.meta.filename.endsWith('.ts'))
  enableCompileCache(`${import.meta.dirname}/../../node_modules/.cache/outrigger`)

const args = process.argv.slice(2)
const [first, second, ...rest] = args

if (first === 'proxy' && second === 'run' && !rest.includes('--help') && !rest.includes('-h')) {
  const { runProxy } = await import('../main.ts')
  await runProxy(rest)
} else {
  const { runCommand } = await import('./commands.ts')
  await runCommand(args)
}
