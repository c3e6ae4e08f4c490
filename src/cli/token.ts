import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { authorityFiles } from '../../control-plane/identity/authority.ts'
import { Tokens } from '../../control-plane/identity/token.ts'
import { durationMs, isDuration } from '../api/policy/duration.ts'
import { systemClock } from '../base/clock.ts'
import { defaultStateFolder } from '../base/state-folder.ts'

/** A join token outlives its use by minutes: a day is for machines that are set up by hand. */
const lifetimeMaxMs = 24 * 3_600_000

interface Subject {
  readonly namespace: string
  readonly serviceAccount: string
}

/** Adds `outrigger token`. */
export function registerToken(program: Command): void {
  program
    .command('token')
    .description('Make a join token: the proof of identity with which a sidecar gets its first certificate.')
    .argument('<namespace/serviceaccount>', 'whom it speaks for', parseSubject)
    .option('--state-dir <folder>', "the control plane's state folder", defaultStateFolder())
    .addOption(
      new Option('--lifetime <duration>', 'how long it can be used').argParser(parseLifetime).default(600_000, '10m'),
    )
    .addHelpText(
      'after',
      '\nThe token is a secret: it goes to stdout and nowhere else. The root that the sidecar pins is root.pem in the same folder.\n' +
        '\nExample:\n  outrigger token shop/web --lifetime 5m > /run/outrigger/token\n',
    )
    .action(async (subject: Subject, options: { stateDir: string; lifetime: number }) => {
      process.stdout.write(`${await makeJoinToken(options.stateDir, subject, options.lifetime)}\n`)
    })
}

/** Makes a join token by access to the control plane's state folder. Throws an Error that names the remedy. */
export async function makeJoinToken(stateDir: string, subject: Subject, lifetimeMs?: number): Promise<string> {
  const tokens = await Tokens.read(stateDir, systemClock)
  return tokens.make(subject, await trustDomainOf(stateDir), lifetimeMs)
}

async function trustDomainOf(stateDir: string): Promise<string> {
  const path = join(stateDir, authorityFiles.root)
  try {
    const name = new X509Certificate(await readFile(path)).subjectAltName
    return name!.replace('URI:spiffe://', '')
  } catch (cause) {
    throw new Error(
      `${path} cannot be read: start the control plane once with this state folder, or name its folder with --state-dir`,
      {
        cause,
      },
    )
  }
}

function parseSubject(text: string): Subject {
  const [namespace = '', serviceAccount = '', ...rest] = text.split('/')
  if (namespace === '' || serviceAccount === '' || rest.length > 0) {
    throw new InvalidArgumentError('Expected NAMESPACE/SERVICEACCOUNT, such as shop/web.')
  }
  return { namespace, serviceAccount }
}

function parseLifetime(text: string): number {
  const lifetimeMs = isDuration(text) ? durationMs(text) : 0
  if (lifetimeMs < 1_000 || lifetimeMs > lifetimeMaxMs)
    throw new InvalidArgumentError('Expected a duration from 1s to 24h, such as 10m.')
  return lifetimeMs
}
