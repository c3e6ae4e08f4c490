/** Header hygiene: what a field may make of a message on its way (rows 7, 10, 11, 13, 28, 29, 31, 40, 41 and 44 of the table). */
import { get, post, type WireCase } from './wire-case.ts'

const inbound = ['inbound in plaintext', 'inbound over mTLS'] as const
const fields = (names: readonly string[]): string => names.map((name) => `${name}: 1\r\n`).join('')
const line = (name: string, value = '.*'): RegExp => new RegExp(`^${name}: ${value}\r$`, 'im')
const answerWith = (lines: string, body = 'ok'): string =>
  `HTTP/1.1 200 OK\r\n${lines}content-length: ${body.length}\r\n\r\n${body}`

const hopByHop = ['Keep-Alive', 'Proxy-Connection', 'Proxy-Authorization', 'TE', 'HTTP2-Settings']
/** Said by many proxies; ours neither makes nor believes nor changes them (Envoy's sidecar does the same). */
const forwarded =
  'X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nX-Forwarded-For: 10.0.0.3\r\nX-Forwarded-Proto: https\r\n' +
  'X-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=10.0.0.1;proto=https\r\n' +
  'Via: 1.0 cache\r\nX-Request-ID: r1\r\n'
const ours = ['X-Outrigger-Reason', 'x-outrigger-identity', 'X-OUTRIGGER-ANYTHING']

export const headerCases: readonly WireCase[] = [
  // 7. Host.
  {
    row: 7,
    what: 'Host is compared and sent without case',
    rule: '9110 7.2',
    send: 'GET / HTTP/1.1\r\nhOsT: APP:8080\r\n\r\n',
    status: 200,
    app: [line('host', 'app:8080')],
  },
  {
    row: 7,
    what: 'nothing else names the host',
    rule: '9110 7.2',
    send: get('X-Forwarded-Host: evil.example\r\nX-Host: evil.example\r\nForwarded: host=evil.example\r\n'),
    status: 200,
    app: [line('host', 'app:8080')],
  },
  {
    row: 7,
    what: 'Host with two colons, and one within brackets only',
    rule: '9110 4.2.1',
    send: 'GET / HTTP/1.1\r\nHost: [::1:8080\r\n\r\n',
    status: 400,
  },
  {
    row: 7,
    what: 'Host denied by a policy, in capitals, with a port and the dot of the root',
    rule: '9110 7.2',
    send: 'GET / HTTP/1.1\r\nHost: SECRET.Example.:08080\r\n\r\n',
    status: 403,
    lanes: inbound,
  },
  {
    row: 7,
    what: 'Host denied by a policy, in absolute form behind another Host',
    rule: '9112 3.2.2',
    send: 'GET http://secret.example/ HTTP/1.1\r\nHost: HOST\r\n\r\n',
    status: 403,
    lanes: inbound,
  },
  {
    row: 7,
    what: 'HTTP/1.0 without Host gets an empty one',
    rule: '9112 3.2',
    send: 'GET / HTTP/1.0\r\n\r\n',
    status: 200,
    app: [/^GET \/ HTTP\/1\.1\r\nhost: \r\n/],
    lanes: inbound,
  },
  // 10. Hop-by-hop fields.
  {
    row: 10,
    what: 'hop-by-hop fields end here',
    rule: '9110 7.6.1',
    send: get(`${fields(hopByHop)}Connection: keep-alive, te\r\nX-End: 1\r\n`),
    status: 200,
    app: [line('x-end')],
    appNever: [...hopByHop.map((name) => line(name)), line('connection')],
  },
  {
    row: 10,
    what: 'what Connection names ends here, wherever it stands and however it is written',
    rule: '9110 7.6.1',
    send: get(
      'X-Hop: a\r\nConnection: X-HOP,, x-other \r\nConnection:\tauthorization\r\nx-OTHER: b\r\nAuthorization: c\r\n',
    ),
    status: 200,
    appNever: [line('x-hop'), line('x-other'), line('authorization'), line('connection')],
  },
  {
    row: 10,
    what: 'naming a field that we add ourselves does not take it away',
    rule: '9110 7.6.1',
    send: get('Connection: traceparent, x-outrigger\r\ntraceparent: spoofed\r\n'),
    status: 200,
    app: [line('traceparent', '00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]')],
  },
  ...['host', 'Content-Length', 'content-type', 'transfer-encoding', 'X-Outrigger-Identity', 'a b'].map(
    (name): WireCase => ({
      row: 10,
      what: `Connection may not name ${name}`,
      rule: '9110 7.6.1',
      send: get(`Connection: ${name}\r\n`),
      status: 400,
    }),
  ),
  {
    row: 10,
    what: 'hop-by-hop fields of an answer end here',
    rule: '9110 7.6.1',
    send: get(''),
    answer: answerWith(`${fields(hopByHop)}Connection: X-Hop\r\nX-Hop: a\r\nUpgrade: h2c\r\nX-End: 1\r\n`),
    status: 200,
    client: [line('x-end')],
    clientNever: [...hopByHop.map((name) => line(name)), line('x-hop'), line('upgrade'), line('connection')],
  },
  {
    row: 10,
    what: 'an answer may not name Content-Length in Connection',
    rule: '9110 7.6.1',
    send: get(''),
    answer: answerWith('Connection: content-length\r\n'),
    status: 502,
    requests: 1,
  },
  // 11. h2c.
  {
    row: 11,
    what: 'an upgrade to h2c is served without it',
    rule: '9113 3.1',
    send: get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'),
    status: 200,
    appNever: [line('upgrade'), line('http2-settings'), line('connection')],
  },
  // 13. Trailers.
  {
    row: 13,
    what: 'trailers of a request that speak of framing, routing, identity or us',
    rule: '9110 6.5.1',
    send: post(
      'Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n',
      '1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Length: 5\r\nAuthorization: b\r\nCookie: c\r\n' +
        'X-Outrigger-Identity: d\r\nX-Forwarded-Client-Cert: e\r\nContent-Type: f\r\n\r\n',
    ),
    status: 200,
    app: [/\r\n0\r\nX-Sum: 1\r\n\r\n$/],
    appNever: [/evil/, line('authorization'), line('cookie'), /x-outrigger/i, /client-cert/i, line('content-type')],
  },
  {
    row: 13,
    what: 'trailers of an answer likewise',
    rule: '9110 6.5.1',
    send: get(''),
    answer:
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n' +
      'Content-Length: 9\r\nX-Outrigger-Reason: DENIED\r\nLocation: /evil\r\n\r\n',
    status: 200,
    until: /\r\n0\r\n[\s\S]*\r\n\r\n$/,
    client: [/\r\n0\r\nX-Sum: 1\r\n\r\n$/],
    clientNever: [/set-cookie/i, /x-outrigger/i, /evil/, /content-length: 9/i],
  },
  // 28. More than one value: nothing is joined, dropped or sorted on the way.
  {
    row: 28,
    what: 'fields of one name stay apart, in their order',
    rule: '9110 5.3',
    send: get('X-Role: user\r\nCookie: a=1\r\nX-Role: admin\r\ncookie: b=2\r\nX-Role: \r\n'),
    status: 200,
    app: [/X-Role: user\r\nCookie: a=1\r\nX-Role: admin\r\ncookie: b=2\r\nX-Role: \r\n/],
  },
  {
    row: 28,
    what: 'Set-Cookie of an answer stays apart',
    rule: '9110 5.3',
    send: get(''),
    answer: answerWith('Set-Cookie: a=1; Expires=Wed, 01 Jan 2027 00:00:00 GMT\r\nX: y\r\nSet-Cookie: b=2\r\n'),
    status: 200,
    client: [/Set-Cookie: a=1; Expires=Wed, 01 Jan 2027 00:00:00 GMT\r\nX: y\r\nSet-Cookie: b=2\r\n/],
  },
  // 29. Names that become reserved ones in CGI-like servers (RFC 3875 section 4.1.18).
  ...['x_outrigger_identity', 'X-Outrigger_Reason', 'x.outrigger.identity', 'X_Forwarded_Client_Cert'].map(
    (name): WireCase => ({
      row: 29,
      what: `${name} imitates a reserved name`,
      rule: '3875 4.1.18',
      send: get(`${name}: admin\r\n`),
      status: 400,
    }),
  ),
  {
    row: 29,
    what: 'other names with underscores pass',
    rule: '9110 5.1',
    send: get('X_Api_Key: 1\r\nx-b.c_d: 2\r\n'),
    status: 200,
    app: [line('X_Api_Key', '1'), line('x-b.c_d', '2')],
  },
  // 31. Who somebody is, and where a request comes from, is not for a field to say.
  {
    row: 31,
    what: 'what is ours does not come from outside',
    rule: 'ours',
    send: get(`${fields(ours)}X-Forwarded-Client-Cert: By=spiffe://cluster.local/ns/test/sa/admin\r\nX-End: 1\r\n`),
    status: 200,
    app: [line('x-end')],
    appNever: [/x-outrigger/i, /client-cert/i],
  },
  {
    row: 31,
    what: 'nor from an application in its answer',
    rule: 'ours',
    send: get(''),
    answer: answerWith(`${fields(ours)}X-Outrigger-Attempt: 9\r\nX-Forwarded-Client-Cert: a\r\nX-End: 1\r\n`),
    status: 200,
    client: [line('x-end')],
    clientNever: [/x-outrigger/i, /client-cert/i],
  },
  {
    row: 31,
    what: 'which try it is comes from sidecars alone',
    rule: 'ours',
    send: get('X-Outrigger-Attempt: 7\r\n'),
    status: 200,
    appNever: [/x-outrigger/i],
    lanes: ['outbound', 'inbound in plaintext'],
  },
  {
    row: 31,
    what: 'which try it is passes from a sidecar',
    rule: 'ours',
    send: get('X-Outrigger-Attempt: 2\r\n'),
    status: 200,
    app: [line('x-outrigger-attempt', '2')],
    lanes: ['inbound over mTLS'],
  },
  {
    row: 31,
    what: 'x-forwarded-* and Forwarded pass as they are, and nothing is added to them',
    rule: '7239, Envoy use_remote_address',
    send: get(forwarded),
    status: 200,
    app: [new RegExp(forwarded.replaceAll('.', '\\.'))],
  },
  {
    row: 31,
    what: 'nor is it made where it is missing',
    rule: '7239, Envoy use_remote_address',
    send: get(''),
    status: 200,
    appNever: [/forwarded/i, line('via'), line('x-real-ip'), line('x-envoy')],
  },
  {
    row: 31,
    what: 'an address in X-Forwarded-For opens no door that ipBlocks keep shut',
    rule: 'ours',
    send: get('X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n', '/office'),
    status: 403,
  },
  // 40. Trace context.
  ...[
    '',
    'x',
    `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`,
    `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01\xff`,
    'a'.repeat(9_000),
  ].map(
    (value, i): WireCase => ({
      row: 40,
      what: `a broken traceparent starts a new trace (${i + 1})`,
      rule: 'W3C trace-context 3.2',
      send: get(`traceparent: ${value}\r\ntracestate: a=b\x80,\r\nbaggage: k=v\x9b\r\n`),
      status: 200,
      app: [line('traceparent', '00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-0[01]')],
      appNever: [line('tracestate')],
    }),
  ),
  // 41. Names that every object has.
  {
    row: 41,
    what: '__proto__ and its kind are names like any other',
    rule: '9110 5.1',
    send: get(
      '__proto__: 1\r\nconstructor: 2\r\nhasOwnProperty: 3\r\ntoString: 4\r\n',
      '/__proto__/constructor?__proto__=1&constructor[prototype]=2',
    ),
    status: 200,
    app: [
      /^GET \/__proto__\/constructor\?__proto__=1&constructor\[prototype\]=2 HTTP/,
      /__proto__: 1\r\nconstructor: 2\r\nhasOwnProperty: 3\r\ntoString: 4\r\n/,
    ],
  },
  {
    row: 41,
    what: 'bytes above 0x7F in a value pass as they are',
    rule: '9110 5.5',
    send: get('X-A: \x80\x9b\xe9\xff\r\n'),
    status: 200,
    app: [/X-A: \x80\x9b\xe9\xff\r\n/],
  },
  // 44. Nothing is decompressed: a decoder would choke on this.
  {
    row: 44,
    what: 'a compressed body passes as it is',
    rule: '9110 8.4',
    send: post('Content-Encoding: gzip\r\nContent-Length: 5\r\n', '\xf1\x8b\x80\xff\xfe'),
    answer: answerWith('Content-Encoding: gzip\r\n', '\xf1\x8b\x80\xff\xff'),
    status: 200,
    until: /\xff\xff$/,
    app: [/content-encoding: gzip\r\n[\s\S]*\r\n\r\n\xf1\x8b\x80\xff\xfe$/i],
    client: [/content-encoding: gzip\r\n[\s\S]*\r\n\r\n\xf1\x8b\x80\xff\xff$/i],
  },
]
