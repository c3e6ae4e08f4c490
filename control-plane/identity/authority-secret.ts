/** The authority's key in a Secret, so that every replica signs with the same one. */
import { messageOf } from '../../src/base/log.ts'
import { Authority, type AuthorityPem, type AuthoritySettings, makeRoot } from './authority.ts'

/** A Secret of type kubernetes.io/tls, base64 as the API gives it. */
export interface SecretData {
  readonly [key: string]: string | undefined
}

/** The two calls that are needed; the wiring makes them of the API server. */
export interface SecretStore {
  /** `NAMESPACE/NAME`, for messages. */
  readonly name: string
  read(): Promise<SecretData | undefined>
  /** False: somebody else made it in the meantime. */
  create(data: SecretData): Promise<boolean>
}

export const secretKeys = { key: 'tls.key', certificate: 'tls.crt', trustBundle: 'ca.crt' } as const

/**
 * The authority of a Secret. `managed`: made by whichever replica comes first; the others read what that one wrote.
 * Otherwise it is somebody else's (cert-manager writes the same three keys) and must be there.
 */
export async function authorityFromSecret(
  settings: AuthoritySettings,
  store: SecretStore,
  managed: boolean,
): Promise<Authority> {
  let data = await store.read()
  if (data === undefined && managed) {
    const made = await makeRoot(settings)
    await store.create({
      [secretKeys.key]: base64(made.key),
      [secretKeys.certificate]: base64(made.certificate),
      [secretKeys.trustBundle]: base64(made.certificate),
    })
    // Read back, whoever made it: what the others will read is what counts.
    data = await store.read()
  }
  if (data === undefined) {
    throw new Error(
      `no Secret ${store.name} with the authority's key: create it (kubernetes.io/tls with ${Object.values(secretKeys).join(', ')}), or set authority.managed: true`,
    )
  }
  return fromData(settings, store.name, data, managed)
}

async function fromData(
  settings: AuthoritySettings,
  name: string,
  data: SecretData,
  managed: boolean,
): Promise<Authority> {
  const [key, certificate] = [secretKeys.key, secretKeys.certificate].map((field) => text(data[field]))
  if (key === undefined || certificate === undefined) {
    throw new Error(`the Secret ${name} has no ${key === undefined ? secretKeys.key : secretKeys.certificate}`)
  }
  const pem: AuthorityPem = { key, certificate, trustBundle: text(data[secretKeys.trustBundle]) }
  try {
    return await Authority.fromPem(settings, pem)
  } catch (error) {
    const remedy = managed ? '; delete it to start a new authority (all sidecars must enrol again)' : ''
    throw new Error(`the Secret ${name} is no authority: ${messageOf(error)}${remedy}`, { cause: error })
  }
}

function text(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : Buffer.from(value, 'base64').toString('utf8')
}

function base64(value: string): string {
  return Buffer.from(value).toString('base64')
}
