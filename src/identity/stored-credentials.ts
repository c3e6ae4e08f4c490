import type { Clock } from '../base/clock.ts'
import type { StateFolder } from '../base/state-folder.ts'
import { type Credentials, readCredentials } from './credentials.ts'

// Key and certificate in one file: they are only good together, and one file is replaced at once.
const fileName = 'identity.json'

const texts = ['privateKeyPem', 'certificateChainPem', 'trustBundlePem'] as const

/** The credentials of an earlier run; undefined when there are none. Throws an Error that says what is wrong with them. */
export async function loadCredentials(
  state: StateFolder,
  clock: Clock,
): Promise<{ readonly credentials: Credentials; readonly obtainedAtMs: number } | undefined> {
  const bytes = await state.read(fileName)
  if (bytes === undefined) return undefined
  const value = parse(bytes.toString('utf8'))
  const obtainedAtMs = value['obtainedAtMs']
  if (typeof obtainedAtMs !== 'number') throw new Error(`${fileName} is damaged`)
  const [privateKeyPem, certificateChainPem, trustBundlePem] = texts.map((name) => {
    const text = value[name]
    if (typeof text !== 'string') throw new Error(`${fileName} is damaged`)
    return text
  })
  const credentials = readCredentials(
    { privateKeyPem: privateKeyPem!, certificateChainPem: certificateChainPem!, trustBundlePem: trustBundlePem! },
    clock,
  )
  // A clock that was set back since then must not put off the renewal for ever.
  return { credentials, obtainedAtMs: Math.min(obtainedAtMs, clock.wall()) }
}

export async function storeCredentials(
  state: StateFolder,
  credentials: Credentials,
  obtainedAtMs: number,
): Promise<void> {
  const { privateKeyPem, certificateChainPem, trustBundlePem } = credentials
  await state.write(fileName, JSON.stringify({ privateKeyPem, certificateChainPem, trustBundlePem, obtainedAtMs }))
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return { ...value }
  } catch {
    // Said below.
  }
  throw new Error(`${fileName} is damaged`)
}
