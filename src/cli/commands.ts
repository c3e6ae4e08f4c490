import { Command, CommanderError } from 'commander'
import { version } from './version.ts'

/** The commands in the order of `--help`, each with the module that knows it. */
const registrations: Readonly<Record<string, (program: Command) => Promise<void>>> = {
  up: async (program) => (await import('./up/register.ts')).registerUp(program),
  validate: async (program) => (await import('./validate.ts')).registerValidate(program),
  analyze: async (program) => (await import('./analyze.ts')).registerAnalyze(program),
  describe: async (program) => (await import('./describe.ts')).registerDescribe(program),
  explain: async (program) => (await import('./explain.ts')).registerExplain(program),
  install: async (program) => (await import('./install.ts')).registerInstall(program),
  uninstall: async (program) => (await import('./uninstall.ts')).registerUninstall(program),
  check: async (program) => (await import('./check.ts')).registerCheck(program),
  inject: async (program) => (await import('./inject.ts')).registerInject(program),
  status: async (program) => (await import('./status.ts')).registerStatus(program),
  trace: async (program) => (await import('./trace.ts')).registerTrace(program),
  token: async (program) => (await import('./token.ts')).registerToken(program),
  'control-plane': async (program) => (await import('./control-plane.ts')).registerControlPlane(program),
  proxy: async (program) => {
    const [{ registerProxyRun }, { registerProxyConfig }, { registerProxyHooks }, { registerCapture }] =
      await Promise.all([
        import('./proxy-run.ts'),
        import('./proxy-config.ts'),
        import('./proxy-hooks.ts'),
        import('./capture.ts'),
      ])
    registerProxyRun(program)
    registerProxyConfig(program)
    registerProxyHooks(program)
    registerCapture(program)
  },
  version: async (program) => (await import('./version.ts')).registerVersion(program),
}

/**
 * Runs one command line (without `node` and the script). Exit codes: 0 well, 1 it did not work, 2 the command line
 * itself is wrong.
 */
export async function runCommand(args: readonly string[]): Promise<void> {
  const program = new Command('outrigger')
    .description('A service mesh: the same sidecars and the same YAML on a laptop and in Kubernetes.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'help for one command')
    .showHelpAfterError("(see 'outrigger --help', or 'outrigger COMMAND --help')")
    .addHelpText('after', examples)
    .exitOverride()
  const named = registrations[args[0] ?? '']
  // Help, and the "did you mean" of a mistyped name, need all of them; a known command only itself.
  for (const register of named === undefined ? Object.values(registrations) : [named]) await register(program)
  // The list of commands gives each one line, its own help the whole description.
  for (const command of program.commands)
    command.summary(command.summary() || (command.description().split('\n')[0] ?? ''))
  // The clock's timers do not keep a process alive, and a command may wait for nothing else (a trace that is coming).
  const alive = new MessageChannel()
  alive.port1.ref()
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error)
  } finally {
    alive.port1.close()
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed it. Its own complaints are about the command line; `command.error()` is a command's.
    return error.exitCode === 1 && error.code !== 'commander.error' ? 2 : error.exitCode
  }
  const isMistakeOfOurs = error instanceof TypeError || error instanceof RangeError || !(error instanceof Error)
  const text = isMistakeOfOurs && error instanceof Error ? (error.stack ?? error.message) : messageOf(error)
  console.error(`outrigger: ${text}`)
  return 1
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

const examples = `
Examples:
  outrigger up examples/shop                      run the mesh of a folder of YAML on this machine
  outrigger up examples/shop --scenario canary    ... with a scenario laid over it
  outrigger validate -f examples/shop             what is wrong with it, with file, line and column
  outrigger explain HTTPRoute.spec.rules.retry    what a field means
  outrigger status                                who is connected, what is in force, what was refused
  outrigger trace last                            the latest request, hop by hop, with every decision
  outrigger install                               the control plane into the cluster of your kubeconfig
  outrigger check                                 whether all is well there
  outrigger describe shop/orders                  what holds for it: routes, mTLS, who may call, retries, breakers

Data goes to stdout, progress to stderr. Exit codes: 0 well, 1 it did not work, 2 wrong command line.
`
