import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as x509 from '@peculiar/x509'
import type { Clock } from '../../src/base/clock.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/**
 * Writes the certificates of the Envoy cells to `folder`: ca.crt, and server and client as NAME.crt and
 * NAME.key, client.pem with both for HAProxy. P-256 and SPIFFE names, as Outrigger's own are.
 */
export async function writeCertificates(folder: string, clock: Clock): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const validity = { notBefore: new Date(clock.wall() - 60_000), notAfter: new Date(clock.wall() + 86_400_000) }
  const caKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: 'CN=Outrigger bench',
    keys: caKeys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  })
  write('ca.crt', ca.toString('pem'))
  for (const [name, account] of [
    ['server', 'backend'],
    ['client', 'client'],
  ] as const) {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.create({
      ...validity,
      issuer: ca.subject,
      signingKey: caKeys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([
          { type: 'url', value: `spiffe://bench.test/ns/bench/sa/${account}` },
        ]),
      ],
    })
    const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
    write(`${name}.crt`, certificate.toString('pem'))
    write(`${name}.key`, key)
    write(`${name}.pem`, `${certificate.toString('pem')}\n${key}`)
  }

  function write(name: string, text: string): void {
    writeFileSync(path.join(folder, name), `${text}\n`, { mode: 0o600 })
  }
}
