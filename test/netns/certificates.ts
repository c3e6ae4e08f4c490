import 'reflect-metadata'
import { readFileSync } from 'node:fs'
import * as x509 from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** Key and certificate chain, in one PEM, of a leaf that a root has really signed, with whatever name it carries. */
export async function issue(rootCertificatePem: string, rootKeyPem: string, spiffeId: string): Promise<string> {
  const root = new x509.X509Certificate(rootCertificatePem)
  const rootKey = await crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(rootKeyPem), algorithm, false, [
    'sign',
  ])
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const leaf = await x509.X509CertificateGenerator.create({
    issuer: root.subject,
    notBefore: new Date(root.notBefore.getTime()),
    notAfter: new Date(root.notAfter.getTime()),
    publicKey: keys.publicKey,
    signingKey: rootKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId }], true),
    ],
  })
  return [await keyPem(keys.privateKey), leaf.toString('pem'), rootCertificatePem].join('\n')
}

/** A root that nobody trusts. */
export async function strangerRoot(): Promise<{ certificatePem: string; keyPem: string }> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=stranger',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  })
  return { certificatePem: root.toString('pem'), keyPem: await keyPem(keys.privateKey) }
}

/** The root of a control plane, from its state folder. */
export function rootOf(stateDir: string): { certificatePem: string; keyPem: string } {
  return {
    certificatePem: readFileSync(`${stateDir}/root.pem`, 'utf8'),
    keyPem: readFileSync(`${stateDir}/ca-key.pem`, 'utf8'),
  }
}

async function keyPem(key: CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
}
