/** How much of a head there may be, Host, targets and versions (RFC 9112 sections 2.3 and 3.2, RFC 9110 section 7.2). */
import { get, host, rowOf, smuggled, type Vector } from '../vector.ts'

const limit = rowOf(6)

const limits: readonly Vector[] = [
  limit.refused('1,990 fields', '6585 5', get(`${host}${'a:\r\n'.repeat(1_990)}x-deny: 1\r\n`), 431),
  limit.refused('1,001 fields', '6585 5', get(`${host}${'a:\r\n'.repeat(1_000)}`), 431),
  limit.refused('70 KB field', '6585 5', get(`${host}x-a: ${'b'.repeat(70_000)}\r\n`), 431),
  limit.refused('70 KB name', '6585 5', get(`${host}${'b'.repeat(70_000)}: a\r\n`), 431),
  limit.refused('40 KB target', '6585 5', get(host, `/${'a'.repeat(40_000)}`), 431),
  limit.refused('70 KB without a line end', '6585 5', 'A'.repeat(70_000), 431),
  limit.served('20 KB field', '6585 5', get(`${host}x-a: ${'b'.repeat(20_000)}\r\nx-last: yes\r\n`), {
    must: /x-last: yes/,
  }),
  limit.served('900 fields', '6585 5', get(`${host}${'a: b\r\n'.repeat(900)}x-last: yes\r\n`), { must: /x-last: yes/ }),
]

const h = rowOf(7)
const hostIs = (value: string): string => get(`Host:${value}\r\n`)

const hosts: readonly Vector[] = [
  h.refused('two Hosts', '9112 3.2', get(`${host}Host: b\r\n`)),
  h.refused('two equal Hosts', '9112 3.2', get(host + host)),
  h.refused('two Hosts in different case', '9112 3.2', get(`${host}HOST: b\r\n`)),
  h.refused('two Hosts, the first empty', '9112 3.2', get(`Host:\r\n${host}`)),
  h.refused('two Hosts on HTTP/1.0', '9112 3.2', `GET / HTTP/1.0\r\n${host}Host: b\r\n\r\n`),
  h.refused('two Hosts and an absolute target', '9112 3.2', get(`${host}Host: b\r\n`, 'http://app.test/')),
  h.refused('no Host', '9112 3.2', get('X-A: b\r\n')),
  h.refused('no field at all', '9112 3.2', 'GET / HTTP/1.1\r\n\r\n'),
  h.refused('no Host, but an absolute target', '9112 3.2', get('X-A: b\r\n', 'http://app.test/')),
  h.refused('empty Host', '9112 3.2', hostIs(' ')),
  h.refused('space before colon of Host', '9112 5.1', get('Host : app.test\r\n')),
  h.refused('Host with user', '9110 7.2', hostIs(' a@b')),
  h.refused('Host with path', '9110 7.2', hostIs(' a/b')),
  h.refused('Host with query', '9110 7.2', hostIs(' a?b')),
  h.refused('Host with fragment', '9110 7.2', hostIs(' a#b')),
  h.refused('Host with backslash', '9110 7.2', hostIs(' a\\b')),
  h.refused('Host with scheme', '9110 7.2', hostIs(' http://a')),
  h.refused('Host with space', '9110 7.2', hostIs(' a b')),
  h.refused('Host with tab', '9110 7.2', hostIs(' a\tb')),
  h.refused('Host with NUL', '9110 7.2', hostIs(' a\0b')),
  h.refused('Host with vertical tab', '9110 7.2', hostIs(' a\x0bb')),
  h.refused('Host with bare CR', '9112 2.2', hostIs(' a\rb')),
  h.refused('Host with high byte', '9110 7.2', hostIs(' \xe9.test')),
  h.refused('Host in Unicode', '9110 7.2', hostIs(' \xd0\xb0pp.test')),
  h.refused('Host with two ports', '9110 7.2', hostIs(' a:1:2')),
  h.refused('Host with an empty port', '9110 7.2', hostIs(' a:')),
  h.refused('Host with a port of letters', '9110 7.2', hostIs(' a:http')),
  h.refused('Host with a negative port', '9110 7.2', hostIs(' a:-1')),
  h.refused('Host with a signed port', '9110 7.2', hostIs(' a:+80')),
  h.refused('Host with port out of range', '9110 7.2', hostIs(' a:70000')),
  h.refused('Host of a port only', '9110 7.2', hostIs(' :80')),
  h.refused('Host list', '9110 7.2', hostIs(' a,b')),
  h.refused('Host with semicolon', '9110 7.2', hostIs(' a;b')),
  h.refused('Host percent-encoded', '9110 7.2', hostIs(' %61pp')),
  h.refused('Host in quotes', '9110 7.2', hostIs(' "a"')),
  h.refused('Host of an address without its bracket', '9110 7.2', hostIs(' [::1')),
  h.refused('Host with a word after its bracket', '9110 7.2', hostIs(' [::1]a')),
  h.refused('Host with a zone', '9110 7.2', hostIs(' [fe80::1%25eth0]')),
  h.refused('Host with markup', '9110 7.2', hostIs(' <script>')),
  h.refused('Host longer than a name may be', '9110 7.2', hostIs(` ${'a'.repeat(300)}`)),
  h.served('Host in capitals', '9110 4.2.3', hostIs(' APP.Test'), { must: /host: app\.test\r/ }),
  h.served('Host with blanks around', '9112 5.1', hostIs('\t app.test \t'), { must: /host: app\.test\r/ }),
]

const t = rowOf(8)

const targets: readonly Vector[] = [
  t.served('absolute form beats Host', '9112 3.2.2', get('Host: other.test\r\n', 'http://app.test/x'), {
    never: /other\.test|http:\/\//,
    must: /^GET \/x HTTP\/1\.1\r\nhost: app\.test\r/m,
  }),
  t.served('absolute form in capitals', '9110 4.2.3', get(host, 'HTTP://APP.TEST/X'), {
    must: /^GET \/X HTTP\/1\.1\r\nhost: app\.test\r/m,
  }),
  t.served('absolute form without path', '9112 3.2.1', get(host, 'http://app.test'), {
    must: /^GET \/ HTTP\/1\.1\r\nhost: app\.test\r/m,
  }),
  t.served('absolute form with query only', '9112 3.2.1', get(host, 'http://app.test?a=b'), {
    must: /^GET \/\?a=b HTTP/,
  }),
  t.served('absolute form of OPTIONS without path', '9112 3.2.4', `OPTIONS http://app.test HTTP/1.1\r\n${host}\r\n`, {
    must: /^OPTIONS \* HTTP/,
  }),
  t.served('an absolute target in a path', '9112 3.2.1', get(host, '/http://other.test/'), {
    must: /host: app\.test\r/,
  }),
  t.refused('absolute form with user', '9110 4.2.4', get(host, 'http://u@app.test/')),
  t.refused('absolute form with user and password', '9110 4.2.4', get(host, 'http://u:p@app.test/')),
  t.refused('absolute form of another scheme', '9112 3.2.2', get(host, 'ftp://app.test/')),
  t.refused('absolute form of scheme file', '9112 3.2.2', get(host, 'file:///etc/passwd')),
  t.refused('absolute form of scheme ws', '9112 3.2.2', get(host, 'ws://app.test/')),
  t.refused('absolute form without authority', '9110 4.2.1', get(host, 'http:///x')),
  t.refused('absolute form with one slash', '9110 4.2.1', get(host, 'http:/app.test/')),
  t.refused('absolute form without slashes', '9110 4.2.1', get(host, 'http:app.test')),
  t.refused('absolute form with backslashes', '9110 4.2.1', get(host, 'http:\\\\app.test/')),
  t.refused(
    'absolute form with a backslash in its authority',
    '9110 4.2.1',
    get(host, 'http://app.test\\@other.test/'),
  ),
  t.refused('absolute form percent-encoded', '9110 4.2.1', get(host, 'http://%61pp.test/')),
  t.refused('absolute form with two ports', '9110 4.2.1', get(host, 'http://app.test:1:2/')),
  t.refused('absolute form and a bad Host', '9110 7.2', get('Host: a@b\r\n', 'http://app.test/')),
  t.refused('authority alone', '9112 3.2.3', get(host, 'app.test:80')),
  t.refused('target without slash', '9112 3.2', get(host, 'admin')),
  t.refused('target of a dot', '9112 3.2', get(host, './admin')),
  t.refused('target of a question mark', '9112 3.2', get(host, '?a=b')),
  t.refused('target of a backslash', '9112 3.2', get(host, '\\admin')),
  t.refused('fragment', '9112 3.2', get(host, '/a#b')),
  t.refused('high byte in target', '9112 3.2', get(host, '/\xe9')),
  t.refused('NUL in target', '9112 3.2', get(host, '/a\0b')),
  t.refused('DEL in target', '9112 3.2', get(host, '/a\x7f')),
  t.refused('bare CR in target', '9112 3.2', get(host, '/a\rb')),
  t.refused('escape in target', '9112 3.2', get(host, '/\x1b[2J')),
  t.refused('star with GET', '9112 3.2.4', get(host, '*')),
  t.refused('star with a path', '9112 3.2.4', `OPTIONS */x HTTP/1.1\r\n${host}\r\n`),
  t.refused('two stars', '9112 3.2.4', `OPTIONS ** HTTP/1.1\r\n${host}\r\n`),
  t.served('star with OPTIONS', '9112 3.2.4', `OPTIONS * HTTP/1.1\r\n${host}\r\n`, { must: /^OPTIONS \* / }),
]

const v = rowOf(9)
const version = (text: string): string => `GET / ${text}\r\n${host}\r\n`

const versions: readonly Vector[] = [
  v.refused('HTTP/0.9', '9112 2.3', 'GET /\r\n\r\n'),
  v.refused('HTTP/0.9 of one line', '9112 2.3', 'GET /\r\n'),
  v.refused('HTTP/0.9 with fields', '9112 2.3', `GET /\r\n${host}\r\n`),
  v.refused('HTTP/0.9 by name', '9110 15.6.6', version('HTTP/0.9'), 505),
  v.refused('HTTP/0.0', '9110 15.6.6', version('HTTP/0.0'), 505),
  v.refused('HTTP/2.0', '9110 15.6.6', version('HTTP/2.0'), 505),
  v.refused('HTTP/3.0', '9110 15.6.6', version('HTTP/3.0'), 505),
  v.refused('HTTP/1.2', '9110 15.6.6', version('HTTP/1.2'), 505),
  v.refused('HTTP/1.9 with a body', '9110 15.6.6', `POST / HTTP/1.9\r\n${host}Content-Length: 3\r\n\r\nabc`, 505),
  v.refused('http/1.1 in small letters', '9112 2.3', version('http/1.1')),
  v.refused('Http/1.1', '9112 2.3', version('Http/1.1')),
  v.refused('HTTP/1.10', '9112 2.3', version('HTTP/1.10')),
  v.refused('HTTP/01.1', '9112 2.3', version('HTTP/01.1')),
  v.refused('HTTP/1.01', '9112 2.3', version('HTTP/1.01')),
  v.refused('HTTP/11', '9112 2.3', version('HTTP/11')),
  v.refused('HTTP/1', '9112 2.3', version('HTTP/1')),
  v.refused('HTTP/1,1', '9112 2.3', version('HTTP/1,1')),
  v.refused('HTTP/1 .1', '9112 2.3', version('HTTP/1 .1')),
  v.refused('HTTP/+1.1', '9112 2.3', version('HTTP/+1.1')),
  v.refused('HTTP /1.1', '9112 2.3', version('HTTP /1.1')),
  v.refused('HTTP/1.1 with NUL behind', '9112 2.3', version('HTTP/1.1\0')),
  v.refused('HTTPS/1.1', '9112 2.3', version('HTTPS/1.1')),
  v.refused('ICY/1.1', '9112 2.3', version('ICY/1.1')),
  v.refused('RTSP/1.0', '9112 2.3', version('RTSP/1.0')),
  v.refused('no version, but a space', '9112 2.3', version('')),
  v.served('HTTP/1.0 with Host', '9112 2.3', `GET / HTTP/1.0\r\n${host}\r\n`, {
    must: /HTTP\/1\.1\r\nhost: app\.test/,
  }),
  v.served('HTTP/1.0 is not kept alive unasked', '9112 9.3', `GET / HTTP/1.0\r\n${host}\r\n${smuggled}`, {
    never: /smuggled/,
    requests: 1,
  }),
  v.served(
    'HTTP/1.0 kept alive',
    '9112 9.3',
    `GET / HTTP/1.0\r\n${host}Connection: keep-alive\r\n\r\n${get(host, '/second')}`,
    { must: /GET \/second /, requests: 2 },
  ),
]

export const targetVectors: readonly Vector[] = [...limits, ...hosts, ...targets, ...versions]
