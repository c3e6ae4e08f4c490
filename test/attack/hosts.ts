/** Spellings of places that a proxy must help nobody to reach (rows 36, 37 and 39): the Pod itself, and its machine's metadata. */

/** The Pod: whatever listens on loopback, our own admin API too. */
export const loopbackHosts = [
  '127.0.0.1',
  '127.255.255.254',
  'localhost',
  'LOCALHOST',
  'localhost.',
  '127.0.0.1.',
  '127.1',
  '127.0.1',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '017700000001',
  '0177.0.0.1',
  '0',
  '0.0.0.0',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:0:0]',
] as const

/** Link-local addresses and the metadata of clouds. */
export const neighbourHosts = [
  '169.254.169.254',
  '169.254.0.1',
  '2852039166',
  '0xa9fea9fe',
  '0251.0376.0251.0376',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[fe80::1]',
  '[fd00:ec2::254]',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
] as const

/** What is no host at all: refused as a request, before anybody is asked. */
export const impossibleHosts = [
  '127.0.0.1%00',
  'localhost%23',
  '127.0.0.1#',
  'a@127.0.0.1',
  '[::1',
  '[::1%25lo]',
  '127.0.0.1:80:80',
  '\xb2',
] as const
