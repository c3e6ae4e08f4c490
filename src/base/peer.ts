import { X509Certificate } from 'node:crypto'
import { type Clock, systemClock } from './clock.ts'
import { MeshError } from './errors.ts'
import { parseSpiffeId } from './spiffe.ts'

export interface PeerExpectation {
  /** Trust domain that the peer must be of; undefined only before the first enrolment, when `workload` pins the peer. */
  readonly trustDomain: string | undefined
  /** The one SPIFFE id that the peer must show. */
  readonly expected?: string | undefined
  /** Namespace and service account that the peer must show, in whatever trust domain holds above. */
  readonly workload?: { readonly namespace: string; readonly serviceAccount: string } | undefined
  /** What the peer uses its certificate for here; undefined: it must be good for both. */
  readonly use?: 'server' | 'client' | undefined
  readonly clock?: Clock | undefined
}

const usages = { server: ['serverAuth', '1.3.6.1.5.5.7.3.1'], client: ['clientAuth', '1.3.6.1.5.5.7.3.2'] } as const

/**
 * Who a TLS peer is: the SPIFFE id of its leaf certificate. The chain to a trusted root is TLS' own check; this is
 * the part that TLS does not do (X509-SVID standard, sections 2 to 5). Called once per connection.
 *
 * Throws MeshError UPSTREAM_IDENTITY on: no or several URI names, a name that is no id of ours, a wrong trust domain or id,
 * a CA certificate, a missing extended key usage, a certificate that is expired or not yet valid.
 */
export function verifyPeer(certificate: Buffer | X509Certificate, expectation: PeerExpectation): string {
  const x509 = certificate instanceof X509Certificate ? certificate : parse(certificate)
  const now = (expectation.clock ?? systemClock).wall()
  const id = uriName(x509)
  const parts = parseSpiffeId(id)
  if (parts === undefined) throw refused(`its URI name ${JSON.stringify(id)} is not spiffe://DOMAIN/ns/NS/sa/NAME`)
  if (expectation.trustDomain !== undefined && parts.trustDomain !== expectation.trustDomain) {
    throw refused(`${id} is not of the trust domain ${expectation.trustDomain}`)
  }
  if (x509.ca) throw refused(`${id} is in a CA certificate; a workload shows a leaf`)
  // Node names the extended key usages `keyUsage`: a list of object ids.
  const held: readonly string[] = x509.keyUsage ?? []
  for (const use of expectation.use === undefined ? (['server', 'client'] as const) : [expectation.use]) {
    const [name, oid] = usages[use]
    if (!held.includes(oid)) throw refused(`the certificate of ${id} is not made for ${name}`)
  }
  if (now < x509.validFromDate.getTime()) {
    throw refused(
      `the certificate of ${id} is not valid before ${x509.validFromDate.toISOString()}: compare the clocks`,
    )
  }
  if (now > x509.validToDate.getTime()) {
    throw refused(`the certificate of ${id} expired at ${x509.validToDate.toISOString()}`)
  }
  const { workload, expected } = expectation
  if (expected !== undefined && id !== expected) throw refused(`it is ${id}, expected ${expected}`)
  if (
    workload !== undefined &&
    (parts.namespace !== workload.namespace || parts.serviceAccount !== workload.serviceAccount)
  ) {
    throw refused(`it is ${id}, expected /ns/${workload.namespace}/sa/${workload.serviceAccount}`)
  }
  return id
}

function parse(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der)
  } catch (cause) {
    throw new MeshError('UPSTREAM_IDENTITY', 'peer refused: it showed no readable certificate', { cause })
  }
}

// 2.5.29.17, subjectAltName, as it stands in DER.
const sanOid = Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x11])

/**
 * The only URI name. Node prints the list of names from the DER; a value with a NUL, a comma, a quote or a control character
 * is printed as a JSON string (since CVE-2021-44532), so without quotes the list splits in one way only. No id
 * of ours needs quotes: a list that has them is refused rather than parsed.
 */
function uriName(x509: X509Certificate): string {
  const names = x509.subjectAltName
  if (names === undefined) throw refused('its certificate has no subject alternative name')
  // Node would read the first of two name extensions; RFC 5280 section 4.2 allows one.
  const at = x509.raw.indexOf(sanOid)
  if (x509.raw.indexOf(sanOid, at + 1) !== -1) throw refused('its certificate has two lists of names')
  if (names.includes('"')) throw refused('its certificate has a name with characters that no identity has')
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'))
  if (uris.length !== 1) throw refused(`its certificate has ${uris.length} URI names, expected exactly 1`)
  return uris[0]!.slice('URI:'.length)
}

function refused(why: string): MeshError {
  return new MeshError('UPSTREAM_IDENTITY', `peer refused: ${why}`)
}
