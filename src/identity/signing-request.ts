import { createPrivateKey, createPublicKey, generateKeyPair, sign } from 'node:crypto'
import { promisify } from 'node:util'

const generate = promisify(generateKeyPair)

/** A new P-256 private key, PKCS#8 PEM. It leaves this machine's memory and state folder never. */
export async function newPrivateKeyPem(): Promise<string> {
  const { privateKey } = await generate('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/**
 * A PKCS#10 request (RFC 2986), DER, for a P-256 key: no subject, no attributes, since the authority takes the
 * public key and nothing else from it. Written by hand because an X.509 library costs the sidecar more memory than its
 * whole policy.
 */
export function signingRequest(privateKeyPem: string): Buffer {
  const key = createPrivateKey(privateKeyPem)
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const info = der(0x30, der(0x02, Buffer.from([0])), der(0x30), publicKey, der(0xa0))
  const signature = sign('sha256', info, key)
  return der(0x30, info, der(0x30, ecdsaWithSha256), der(0x03, Buffer.from([0]), signature))
}

// 1.2.840.10045.4.3.2 (RFC 5758 section 3.2)
const ecdsaWithSha256 = Buffer.from([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  // Nothing in a P-256 request reaches 64 KiB; lengths take one to three bytes (X.690 section 8.1.3).
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}
