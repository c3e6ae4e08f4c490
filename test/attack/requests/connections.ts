/** Hop-by-hop fields, upgrades, trailers, pipelining, early data (RFC 9110 sections 6.5, 7.6.1, 7.8, 9.3.6, 10.1.1; RFC 9112 9.3). */
import { chunks, get, host, post, rowOf, smuggled, type Vector } from '../vector.ts'

const hop = rowOf(10)
const connection = (options: string, more = ''): string => get(`${host}Connection: ${options}\r\n${more}`)

const hopByHop: readonly Vector[] = [
  hop.served('nominated field is dropped', '9110 7.6.1', connection('x-secret', 'X-Secret: 1\r\n'), {
    never: /x-secret/i,
  }),
  hop.served(
    'nominated before it appears',
    '9110 7.6.1',
    get(`${host}X-Secret: 1\r\nConnection: close, X-SECRET\r\n`),
    { never: /x-secret/i },
  ),
  hop.served(
    'nominated twice and far away',
    '9110 7.6.1',
    connection('x-secret, ,\t x-secret', `X-Secret: 1\r\n${'a: b\r\n'.repeat(20)}x-secret: 2\r\n`),
    { never: /x-secret/i },
  ),
  hop.served(
    'two Connection fields',
    '9110 7.6.1',
    connection('x-one', `Connection: x-two\r\nX-One: 1\r\nX-Two: 2\r\n`),
    { never: /x-one|x-two/i },
  ),
  hop.served('Connection: close ends it', '9112 9.6', connection('close') + smuggled, {
    never: /smuggled/,
    requests: 1,
  }),
  hop.served('Connection: close among others ends it', '9112 9.6', connection('keep-alive, CLOSE') + smuggled, {
    never: /smuggled/,
    requests: 1,
  }),
  hop.refused('nominating Host', '9110 7.6.1', connection('host')),
  hop.refused('nominating Host in a list', '9110 7.6.1', connection('close, HOST')),
  hop.refused(
    'nominating Content-Length',
    '9110 7.6.1',
    post('Connection: content-length\r\nContent-Length: 1\r\n', 'x'),
  ),
  hop.refused('nominating Content-Type', '9110 7.6.1', post('Connection: content-type\r\nContent-Length: 1\r\n', 'x')),
  hop.refused(
    'nominating Transfer-Encoding',
    '9110 7.6.1',
    post('Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ),
  hop.refused('nominating our own', '9110 7.6.1', connection('x-outrigger-attempt')),
  hop.refused('nominating no token', '9110 7.6.1', connection('x secret')),
  hop.refused('nominating in quotes', '9110 7.6.1', connection('"x-secret"')),
  hop.refused('nominating with parameter', '9110 7.6.1', connection('x-secret;a')),
  hop.refused('Connection of a trailing no-break space', '9110 7.6.1', connection('close\xa0')),
  hop.served(
    'hop-by-hop fields are dropped',
    '9110 7.6.1',
    get(`${host}Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nProxy-Authorization: s\r\n`),
    { never: /keep-alive|proxy-|^te:/im },
  ),
  hop.served(
    'reserved fields are dropped',
    'ours',
    get(`${host}X-Outrigger-Reason: DENIED\r\nx-outrigger-attempt: 9\r\n`),
    { never: /x-outrigger-(reason|attempt: 9)/i },
  ),
  hop.refused('underscore twin of a reserved field', 'ours', get(`${host}X_Outrigger_Attempt: 9\r\n`)),
  hop.served(
    'who the peer is, said by the peer',
    'ours',
    get(`${host}X-Forwarded-Client-Cert: By=spiffe://a;URI=spiffe://b\r\n`),
    { never: /spiffe:\/\/b/i },
  ),
  hop.refused('underscore twin of who the peer is', 'ours', get(`${host}X_Forwarded-Client_Cert: URI=spiffe://b\r\n`)),
  hop.served(
    'names that mean something to JavaScript',
    '9110 5.1',
    get(`${host}__proto__: 1\r\nconstructor: 2\r\ntoString: 3\r\n`),
    { must: /__proto__: 1\r\nconstructor: 2\r\ntoString: 3\r\n/ },
  ),
]

const h2 = rowOf(11)
const upgrade = (to: string, more = ''): string => get(`${host}Connection: Upgrade\r\nUpgrade: ${to}\r\n${more}`)

const http2: readonly Vector[] = [
  h2.served(
    'Upgrade h2c is served as HTTP/1.1',
    '9113 3.1',
    get(`${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n`),
    { never: /upgrade|h2c|http2-settings/i },
  ),
  h2.served('Upgrade H2C in capitals', '9113 3.1', upgrade('H2C'), { never: /upgrade|h2c/i }),
  h2.served('Upgrade to a draft of h2c', '9113 3.1', upgrade('h2c-14'), { never: /upgrade|h2c/i }),
  h2.served('Upgrade to HTTP/2.0', '9113 3.1', upgrade('HTTP/2.0'), { never: /upgrade|HTTP\/2/i }),
  h2.served('Upgrade to h2', '9113 3.1', upgrade('h2'), { never: /upgrade|h2/i }),
  h2.served('Upgrade to TLS', '9113 3.1', upgrade('TLS/1.0, HTTP/1.1'), { never: /upgrade|TLS/i }),
  h2.served('Upgrade h2c on a second field', '9113 3.1', upgrade('websocket', 'Upgrade: h2c\r\n'), {
    never: /upgrade|h2c/i,
  }),
  h2.served(
    'Upgrade h2c with a body',
    '9113 3.1',
    post('Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n', 'abc'),
    { never: /upgrade|h2c/i, must: /abc$/ },
  ),
  h2.refused('HTTP/2 preface with a field', '9113 3.4', `PRI * HTTP/2.0\r\n${host}\r\nSM\r\n\r\n`, 505),
  h2.refused('HTTP/2 preface with a path', '9113 3.4', 'PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 505),
  h2.refused('HTTP/2 preface as HTTP/1.1', '9112 3.2.4', `PRI * HTTP/1.1\r\n${host}\r\nSM\r\n\r\n`),
  h2.served('HTTP/2 preface after a request', '9113 3.4', `${get(host)}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, {
    requests: 1,
    next: 505,
    never: /PRI/,
  }),
]

const up = rowOf(12)

const upgrades: readonly Vector[] = [
  up.refused(
    'Upgrade with body',
    '9110 7.8',
    post('Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n', 'abc'),
  ),
  up.refused(
    'Upgrade with chunks',
    '9110 7.8',
    post('Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ),
  up.refused(
    'Upgrade with a request as its body',
    '9110 7.8',
    get(`${host}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: ${smuggled.length}\r\n`) + smuggled,
  ),
  up.served('Upgrade that is not granted, then a request', '9110 7.8', upgrade('websocket') + smuggled, {
    must: /upgrade: websocket/i,
    never: /smuggled/,
    requests: 1,
  }),
  up.served('Upgrade to anything, not granted, then a request', '9110 7.8', upgrade('foo/1') + smuggled, {
    must: /upgrade: foo\/1/i,
    never: /smuggled/,
    requests: 1,
  }),
  up.served(
    'Upgrade of a wrong websocket version',
    '9110 7.8',
    upgrade('websocket', 'Sec-WebSocket-Version: 777\r\n') + smuggled,
    { never: /smuggled/, requests: 1 },
  ),
  up.served('Upgrade without Connection is dropped', '9110 7.8', get(`${host}Upgrade: websocket\r\n`), {
    never: /upgrade/i,
  }),
  up.served('Connection: upgrade without Upgrade is dropped', '9110 7.8', connection('upgrade'), { never: /upgrade/i }),
  up.served('Upgrade to two protocols is dropped', '9113 3.1', upgrade('websocket, h2c'), { never: /upgrade|h2c/i }),
  up.served('Upgrade to no token is dropped', '9110 7.8', upgrade('web socket'), { never: /upgrade/i }),
  up.served(
    'Upgrade in HTTP/1.0 is dropped',
    '9110 7.8',
    `GET / HTTP/1.0\r\n${host}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n`,
    { never: /upgrade/i },
  ),
  up.refused('Upgrade with a line in it', '9112 2.2', upgrade('websocket\rX-A: b')),
  up.refused('CONNECT where it is not served', '9110 9.3.6', `CONNECT app.test:443 HTTP/1.1\r\n${host}\r\n`, 405),
  up.refused('CONNECT with early data', '9110 9.3.6', `CONNECT app.test:443 HTTP/1.1\r\n${host}\r\n${smuggled}`, 405),
  up.refused('CONNECT to a path', '9110 9.3.6', `CONNECT / HTTP/1.1\r\n${host}\r\n`, 405),
  up.refused('connect in small letters to an authority', '9112 3.2.3', `connect app.test:443 HTTP/1.1\r\n${host}\r\n`),
]

const tr = rowOf(13)
const trailers = (text: string): string => chunks(`3\r\nabc\r\n0\r\n${text}\r\n`)
const late = { late: true }

const trailerVectors: readonly Vector[] = [
  tr.served(
    'framing and identity in trailers are dropped',
    '9110 6.5',
    trailers('X-Sum: 1\r\nAuthorization: s\r\nX-Outrigger-Attempt: 2\r\n'),
    {
      never: /authorization|x-outrigger-attempt: 2/i,
      must: /X-Sum: 1/,
    },
  ),
  tr.served('Content-Length in trailers is dropped', '9110 6.5.1', trailers('Content-Length: 5\r\n'), {
    never: /content-length/i,
    requests: 1,
  }),
  tr.served(
    'Transfer-Encoding in trailers is dropped',
    '9110 6.5.1',
    trailers('Transfer-Encoding: chunked\r\n') + get(host, '/second'),
    { must: /\r\n0\r\n\r\nGET \/second /, requests: 2 },
  ),
  tr.served('Host in trailers is dropped', '9110 6.5.1', trailers('Host: other.test\r\n'), { never: /other\.test/ }),
  tr.served(
    'forwarding and conditions in trailers are dropped',
    '9110 6.5.1',
    trailers('X-Forwarded-For: 1.2.3.4\r\nRange: bytes=0-1\r\nIf-Match: x\r\nCookie: a\r\n'),
    { never: /1\.2\.3\.4|range|if-match|cookie/i },
  ),
  tr.served('who the peer is, in trailers', 'ours', trailers('X-Forwarded-Client-Cert: URI=spiffe://b\r\n'), {
    never: /spiffe:\/\/b/,
  }),
  tr.refused('malformed trailer', '9112 7.1.2', trailers('X Sum: 1\r\n'), 400, late),
  tr.refused('trailer without colon', '9112 7.1.2', trailers('X-Sum\r\n'), 400, late),
  tr.refused('trailer with space before colon', '9112 5.1', trailers('X-Sum : 1\r\n'), 400, late),
  tr.refused('trailer that is folded', '9112 5.2', trailers('X-Sum: 1\r\n 2\r\n'), 400, late),
  tr.refused('trailer ended by LF', '9112 2.2', trailers('X-Sum: 1\nX-B: c\r\n'), 400, late),
  tr.refused('trailers ended by LF LF', '9112 2.2', chunks('3\r\nabc\r\n0\r\nX-Sum: 1\n\n'), 400, late),
  tr.refused('trailer with bare CR', '9112 2.2', trailers('X-Sum: a\rb\r\n'), 400, late),
  tr.refused('trailer with NUL', '9110 5.5', trailers('X-Sum: a\0b\r\n'), 400, late),
  tr.refused('trailer with an empty name', '9110 5.1', trailers(': 1\r\n'), 400, late),
  tr.refused('trailer with underscore twin of TE', 'ours', trailers('Transfer_Encoding: chunked\r\n'), 400, late),
  tr.refused(
    'a request line among trailers',
    '9112 7.1.2',
    trailers('GET /smuggled HTTP/1.1\r\nHost: app.test\r\n'),
    400,
    late,
  ),
  tr.refused(
    'two Content-Length in trailers',
    '9112 6.3',
    trailers('Content-Length: 1\r\nContent-Length: 2\r\n'),
    400,
    late,
  ),
  tr.refused('trailers of 20 KB', '9112 7.1.2', trailers(`X-Sum: ${'1'.repeat(20_000)}\r\n`), 413, late),
  tr.refused('1,200 trailers', '9112 7.1.2', trailers('a:\r\n'.repeat(1_200)), 431, late),
]

const pipe = rowOf(14)

const pipelining: readonly Vector[] = [
  pipe.served('two requests at once', '9112 9.3.2', get(host) + get(host, '/second'), {
    must: /GET \/second /,
    requests: 2,
  }),
  pipe.served('ten requests at once', '9112 9.3.2', get(host).repeat(10), { requests: 10 }),
  pipe.served(
    'counted, chunked and none at once',
    '9112 9.3.2',
    post('Content-Length: 3\r\n', 'abc') + chunks('3\r\nabc\r\n0\r\n\r\n') + get(host, '/third'),
    { must: /GET \/third /, requests: 3 },
  ),
  pipe.served('a second request that is none', '9112 3', `${get(host)}GARBAGE\r\n\r\n`, {
    requests: 1,
    next: 400,
    never: /GARBAGE/,
  }),
  pipe.served(
    'a second request that is bare LF',
    '9112 2.2',
    `${get(host)}GET /smuggled HTTP/1.1\nHost: app.test\n\n`,
    { requests: 1, next: 400, never: /smuggled/ },
  ),
  pipe.served(
    'a second request with both framings',
    '9112 6.1',
    `${get(host)}${post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')}`,
    { requests: 1, next: 400, never: /POST/ },
  ),
  pipe.served('a second request with a broken chunk', '9112 7.1', `${get(host)}${chunks('x\r\n')}`, {
    requests: 1,
    next: 400,
    never: /POST/,
  }),
  pipe.served('a byte more than Content-Length', '9112 6.3', post('Content-Length: 3\r\n', `abcd${get(host)}`), {
    requests: 2,
    must: /dGET \//,
  }),
  pipe.served('a blank more than Content-Length', '9112 3', post('Content-Length: 3\r\n', `abc ${smuggled}`), {
    requests: 1,
    next: 400,
    never: /smuggled/,
  }),
  pipe.served('half of an empty line', '9112 2.2', `${get(host)}\r`, { requests: 1 }),
  pipe.served('half of a second request', '9112 9.3.2', `${get(host)}GET /smug`, { requests: 1, never: /smug/ }),
  pipe.served('a second request of HTTP/0.9', '9112 2.3', `${get(host)}GET /smuggled\r\n`, {
    requests: 1,
    next: 400,
    never: /smuggled/,
  }),
]

const ex = rowOf(15)
const expecting = (value: string): string => post(`Expect:${value}\r\nContent-Length: 1\r\n`, 'x')

const expectations: readonly Vector[] = [
  ex.refused('unknown Expect', '9110 10.1.1', get(`${host}Expect: foo\r\n`), 417),
  ex.refused('Expect list', '9110 10.1.1', expecting(' 100-continue, foo'), 417),
  ex.refused(
    'Expect twice',
    '9110 10.1.1',
    post('Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n', 'x'),
    417,
  ),
  ex.refused('Expect with a word before', '9110 10.1.1', expecting(' y 100-continue'), 417),
  ex.refused('Expect in quotes', '9110 10.1.1', expecting(' "100-continue"'), 417),
  ex.refused('Expect with parameter', '9110 10.1.1', expecting(' 100-continue;a=b'), 417),
  ex.refused('Expect of another number', '9110 10.1.1', expecting(' 200-ok'), 417),
  ex.refused('Expect empty', '9110 10.1.1', expecting(''), 417),
  ex.refused('Expect folded', '9112 5.2', expecting('\r\n 100-continue')),
  ex.refused(
    'Expect with both framings',
    '9112 6.1',
    post('Expect: 100-continue\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ),
  ex.served('Expect with its body at once', '9110 10.1.1', expecting(' 100-Continue') + get(host, '/second'), {
    never: /expect/i,
    must: /GET \/second /,
    requests: 2,
  }),
  ex.served('Expect without a body', '9110 10.1.1', get(`${host}Expect: 100-continue\r\n`) + get(host, '/second'), {
    never: /expect/i,
    requests: 2,
  }),
  ex.served(
    'Expect in HTTP/1.0 is ignored',
    '9110 10.1.1',
    `POST / HTTP/1.0\r\n${host}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx`,
    { never: /expect/i },
  ),
  ex.served(
    '0.CL: a request as a body that nobody waits for',
    '9110 10.1.1',
    post(`Expect: 100-continue\r\nContent-Length: ${smuggled.length}\r\n`, smuggled),
    { requests: 1 },
  ),
]

export const connectionVectors: readonly Vector[] = [
  ...hopByHop,
  ...http2,
  ...upgrades,
  ...trailerVectors,
  ...pipelining,
  ...expectations,
]
