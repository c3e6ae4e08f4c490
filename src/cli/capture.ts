import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { addressRange, commaList, isInterfaceName, isPort } from '../base/address-text.ts'
import {
  type CaptureConfig,
  captureRules,
  captureScript,
  commands,
  deliveryAddressCommand,
  type Family,
  removalRules,
} from '../listener/capture-rules.ts'

interface CaptureOptions extends CaptureConfig {
  readonly apply?: true
  readonly print?: true
  readonly remove?: true
  readonly ipv6: 'auto' | 'on' | 'off'
}

/** Adds `outrigger proxy capture`: what an init container runs so that the pod's traffic meets the sidecar. */
export function registerCapture(program: Command): void {
  const proxy =
    program.commands.find((command) => command.name() === 'proxy') ??
    program.command('proxy').description('The sidecar: run it, and capture traffic for it.')
  proxy
    .command('capture')
    .description(
      "Redirect this network namespace's TCP traffic to the sidecar with iptables (IPv4 and IPv6).\n" +
        'Meant for an init container with the capability NET_ADMIN; the sidecar itself needs none.',
    )
    .option('--apply', 'bring the rules into force; replaces those of an earlier run in one step')
    .option('--print', 'write the rules as a shell script, change nothing (default)')
    .option('--remove', 'take the rules away')
    .option('--uid <uid>', 'user of the sidecar, whose own traffic is left alone', parseId, 1337)
    .option('--gid <gid>', 'group of the sidecar, whose own traffic is left alone', parseId, 1337)
    .option('--inbound-port <port>', 'where the sidecar listens for inbound traffic', parsePort, 15006)
    .option('--outbound-port <port>', 'where the sidecar listens for outbound traffic', parsePort, 15001)
    .option('--include-outbound-cidrs <list>', "destinations to capture, comma separated, or '*'", parseCidrsOrAll, [
      '*',
    ])
    .option('--exclude-outbound-cidrs <list>', 'destinations to leave alone', parseCidrs, [])
    .option('--exclude-outbound-ports <list>', 'destination ports to leave alone', parsePorts, [])
    .option(
      '--include-inbound-ports <list>',
      "ports of the app to capture, comma separated, or '*'",
      parsePortsOrAll,
      '*',
    )
    .option('--exclude-inbound-ports <list>', 'ports to leave alone; 15020, 15021, 15090 always are', parsePorts, [])
    .option('--exclude-interfaces <list>', 'interfaces to leave alone', parseInterfaces, [])
    .option('--ipv6 <mode>', 'auto (where this namespace has IPv6), on or off', parseIpv6, 'auto')
    .action((options: CaptureOptions) => capture(proxy, options))
}

function capture(proxy: Command, options: CaptureOptions): void {
  const chosen = [options.apply, options.print, options.remove].filter((flag) => flag === true)
  if (chosen.length > 1) proxy.error('error: choose one of --apply, --print and --remove', { exitCode: 2 })
  const families = familiesOf(options.ipv6)
  if (options.apply) apply(families, options)
  else if (options.remove) remove(families)
  else process.stdout.write(captureScript(families, options))
}

function apply(families: readonly Family[], config: CaptureConfig): void {
  requireNetAdmin()
  const inputs = families.map(
    (family) => [family, captureRules(family, config, run([commands[family].save, '-t', 'nat']))] as const,
  )
  // All of them are tried first, so that IPv4 is not left captured alone where IPv6 cannot be.
  for (const [family, input] of inputs) run([commands[family].restore, '--noflush', '--test'], input)
  for (const [family, input] of inputs) {
    if (family === 'ipv6') run(deliveryAddressCommand('replace'))
    run([commands[family].restore, '--noflush', '--wait', '5'], input)
  }
  const { uid, inboundPort, outboundPort } = config
  console.error(
    `captured ${families.join(' and ')}: inbound to ${inboundPort}, outbound to ${outboundPort}, except user ${uid}`,
  )
}

function remove(families: readonly Family[]): void {
  requireNetAdmin()
  for (const family of families) {
    const input = removalRules(run([commands[family].save, '-t', 'nat']))
    if (input === undefined) {
      console.error(`${family}: no rules of ours`)
      continue
    }
    run([commands[family].restore, '--noflush', '--wait', '5'], input)
    // Gone already if somebody else removed it; the rules are what matters.
    if (family === 'ipv6') spawnSync('ip', deliveryAddressCommand('del').slice(1), { env: environment() })
    console.error(`${family}: removed`)
  }
}

function familiesOf(ipv6: 'auto' | 'on' | 'off'): Family[] {
  return ipv6 === 'on' || (ipv6 === 'auto' && hasIpv6()) ? ['ipv4', 'ipv6'] : ['ipv4']
}

/** An address other than ::1, that of a link included: neighbours reach the applications by it. Traffic of ::1 is never captured. */
function hasIpv6(): boolean {
  try {
    const lines = readFileSync('/proc/net/if_inet6', 'latin1').split('\n')
    return lines.some((line) => line.trim() !== '' && !line.startsWith(`${'0'.repeat(31)}1 `))
  } catch {
    return false
  }
}

/** CAP_NET_ADMIN is bit 12 of the effective set. Asked first: iptables' own words for it are many and unclear. */
function requireNetAdmin(): void {
  if (process.platform !== 'linux')
    throw new Error(`redirect capture needs Linux; on ${process.platform} use explicit capture`)
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  if ((BigInt(`0x${effective}`) >> 12n) % 2n === 1n) return
  throw new Error(
    'no permission to change iptables rules: run as root with the capability NET_ADMIN ' +
      '(securityContext.capabilities.add: [NET_ADMIN]; Pod Security "privileged"), or use explicit capture',
  )
}

function run(command: readonly string[], input = ''): string {
  const [program = '', ...args] = command
  const result = spawnSync(program, args, { input, encoding: 'utf8', env: environment() })
  if (result.error !== undefined) {
    const code = (result.error as NodeJS.ErrnoException).code
    if (code !== 'ENOENT') throw result.error
    const off =
      program.startsWith('ip6') || args.includes('-6') ? ', or pass --ipv6 off if the namespace has no IPv6' : ''
    const what = program === 'ip' ? 'iproute2' : 'iptables'
    throw new Error(`${program} is not installed here: install the package ${what} in this image${off}`)
  }
  if (result.status === 0) return result.stdout
  const why = result.stderr.trim().split('\n')[0] ?? ''
  throw new Error(`${command.join(' ')} failed (exit ${result.status ?? result.signal}): ${why}${hint(program, why)}`)
}

function hint(program: string, why: string): string {
  if (/permission denied|not permitted/i.test(why)) return '; run as root with the capability NET_ADMIN'
  if (/can't initialize|does not exist|no chain\/target\/match/i.test(why)) {
    const off = program.startsWith('ip6') ? ' (or pass --ipv6 off)' : ''
    return `; the kernel lacks the NAT table or a match: load nf_nat, xt_REDIRECT and xt_owner on the node${off}`
  }
  return ''
}

/** Where distributions keep iptables, which the PATH of a plain user or of a slim image may lack. */
function environment(): NodeJS.ProcessEnv {
  return { ...lockFile(), ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' }
}

/**
 * The legacy iptables locks a file in /run, which a container with a read-only root lacks. There nobody else is that it
 * would have to keep out; on a machine it stays where every other iptables looks.
 */
function lockFile(): NodeJS.ProcessEnv {
  const writable = ['/run', '/dev/shm', '/tmp'].find(isWritable)
  return writable === undefined || writable === '/run' ? {} : { XTABLES_LOCKFILE: `${writable}/xtables.lock` }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function parseId(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > 4_294_967_294)
    throw new InvalidArgumentError('Expected a number from 0.')
  return Number(text)
}

function parsePort(text: string): number {
  if (!isPort(text)) throw new InvalidArgumentError(`Expected a port from 1 to 65535, found "${text}".`)
  return Number(text)
}

function parsePorts(text: string): number[] {
  return commaList(text).map(parsePort)
}

function parsePortsOrAll(text: string): '*' | number[] {
  return text.trim() === '*' ? '*' : parsePorts(text)
}

function parseCidrs(text: string): string[] {
  return commaList(text).map((cidr) => {
    const range = addressRange(cidr)
    if (range === undefined)
      throw new InvalidArgumentError(`Expected an address range such as 10.0.0.0/8 or fd00::/8, found "${cidr}".`)
    return range
  })
}

function parseCidrsOrAll(text: string): string[] {
  return text.trim() === '*' ? ['*'] : parseCidrs(text)
}

function parseInterfaces(text: string): string[] {
  return commaList(text).map((name) => {
    if (!isInterfaceName(name))
      throw new InvalidArgumentError(`Expected an interface name such as eth1, found "${name}".`)
    return name
  })
}

function parseIpv6(text: string): string {
  if (!['auto', 'on', 'off'].includes(text)) throw new InvalidArgumentError('Expected auto, on or off.')
  return text
}
