/**
 * The attack table: every class of attack that is known to have worked against a proxy or a mesh, and the tests that show it does
 * not work here. `test/tidy.test.ts` holds it against the tree: each test is there under that name, each list has cases.
 * Rows are numbered as in the lists beside it (`row` of a vector, of an exchange). To extend it: add a case to a list, or a test
 * and its name here.
 */

/** Lists whose cases carry a row; each case is one test. */
export type CaseList = 'vectors' | 'exchanges'

export interface AttackRow {
  readonly row: number
  readonly what: string
  /** Lists that have cases of it. */
  readonly lists?: readonly CaseList[]
  /** Further tests, by file and a part of their name as it is written there. */
  readonly tests?: readonly (readonly [file: string, name: string])[]
  /** Why there is nothing to attack, or how far the defence goes. */
  readonly note?: string
}

const paths = 'test/integration/attack-paths.test.ts'
const tls = 'test/integration/attack-tls.test.ts'
const around = 'test/integration/attack-surroundings.test.ts'
const exhaustion = 'test/integration/attack-exhaustion.test.ts'
const processes = 'test/integration/attack-processes.test.ts'
const engine = 'test/integration/http1-engine.test.ts'
const errors = 'test/integration/mesh-errors.test.ts'
const http2 = 'test/integration/http2-attack.test.ts'
const floods = 'test/integration/http2-floods.test.ts'

export const attackTable: readonly AttackRow[] = [
  // Framing and routing of HTTP/1.1.
  { row: 1, what: 'Transfer-Encoding and Content-Length together', lists: ['vectors'] },
  { row: 2, what: 'Content-Length twice, or odd', lists: ['vectors'] },
  { row: 3, what: 'spellings of Transfer-Encoding', lists: ['vectors'] },
  { row: 4, what: 'line ends, blanks, controls, folding', lists: ['vectors'] },
  { row: 5, what: 'chunk sizes and extensions', lists: ['vectors'] },
  { row: 6, what: 'number and size of fields: never a shortened head', lists: ['vectors'] },
  { row: 7, what: 'whom a request is for: Host', lists: ['vectors', 'exchanges'] },
  { row: 8, what: 'absolute form against Host', lists: ['vectors', 'exchanges'] },
  { row: 9, what: 'HTTP/0.9 and other versions', lists: ['vectors', 'exchanges'] },
  { row: 10, what: 'hop-by-hop fields, and what Connection names', lists: ['vectors', 'exchanges'] },
  { row: 11, what: 'upgrade to h2c', lists: ['vectors', 'exchanges'] },
  {
    row: 12,
    what: 'early data behind Upgrade and CONNECT',
    lists: ['vectors', 'exchanges'],
    tests: [['test/integration/http1-review.test.ts', 'refused with 200 and bytes behind it']],
  },
  { row: 13, what: 'fields in trailers that belong in a head', lists: ['vectors', 'exchanges'] },
  {
    row: 14,
    what: 'somebody else’s answer: pipelining, surplus, response splitting',
    lists: ['vectors', 'exchanges'],
    tests: [
      [engine, 'a thousand pipelined requests are answered in order'],
      [engine, 'a client that leaves cancels what is under way'],
      [errors, 'what an upstream sends unasked becomes nobody else’s answer'],
      ['test/integration/answers-attack.test.ts', 'meet an inbound sidecar, and two sidecars over mTLS'],
      ['test/integration/http1-load.test.ts', 'each get their own answer, in order'],
    ],
  },
  { row: 15, what: 'Expect', lists: ['vectors', 'exchanges'] },
  {
    row: 16,
    what: 'a request sent twice that may not be',
    lists: ['exchanges'],
    tests: [
      [engine, 'but a POST is never sent twice'],
      ['src/policy/retry.test.ts', 'never a second send of what may not be repeated'],
    ],
  },

  // HTTP/2 and gRPC.
  {
    row: 17,
    what: 'rapid reset',
    tests: [
      [floods, 'requests that are taken back at once (rapid reset, CVE-2023-44487)'],
      [floods, 'requests that make the sidecar reset them (CVE-2025-8671)'],
    ],
  },
  {
    row: 18,
    what: 'CONTINUATION flood',
    tests: [
      [floods, 'a head that does not end'],
      [floods, 'CONTINUATION of nothing'],
    ],
  },
  {
    row: 19,
    what: 'SETTINGS, PING and empty DATA floods',
    tests: [
      [floods, 'SETTINGS of nothing'],
      [floods, "what: 'PING'"],
      [floods, 'DATA of nothing'],
      [floods, 'DATA of nothing but padding'],
      [floods, "what: 'PRIORITY'"],
      [floods, 'WINDOW_UPDATE of one byte'],
      [floods, 'frames that nobody knows'],
    ],
  },
  { row: 20, what: 'streams without limit', tests: [[floods, 'streams past the limit are refused unprocessed']] },
  {
    row: 21,
    what: 'injection from HTTP/2 into HTTP/1.1',
    tests: [[http2, 'refused on their streams, and nothing arrives']],
  },
  { row: 22, what: ':authority against host', tests: [[http2, 'refused on their streams, and nothing arrives']] },
  {
    row: 23,
    what: 'header bombs (HPACK)',
    tests: [
      [http2, 'refused on their streams, and nothing arrives'],
      [http2, 'a field of 4,000 bytes named four thousand times'],
    ],
  },
  {
    row: 24,
    what: 'crash or leak when a session ends',
    tests: [
      [floods, 'frames that end a connection, thousands of times'],
      ['test/integration/http2-answers-attack.test.ts', 'the client gets nothing of it, and its next answer'],
    ],
  },
  {
    row: 25,
    what: 'gRPC messages past their limit',
    tests: [['test/integration/attack-grpc.test.ts', 'messages past the limit of the control plane end their call']],
    note: 'a sidecar relays messages and holds none of them whole',
  },
  {
    row: 26,
    what: 'GOAWAY with no streams allowed',
    tests: [['test/integration/http2-answers-attack.test.ts', 'the client gets nothing of it, and its next answer']],
  },

  // Policy, identity, TLS.
  {
    row: 27,
    what: 'another spelling of a denied path',
    tests: [
      [paths, 'spellings of /admin are refused where it is'],
      [paths, 'ordinary targets pass byte for byte'],
      ['src/route/path-readings.test.ts', 'any order of what parsers do comes to a reading'],
      ['src/policy/authorize.test.ts', 'every spelling of a denied path'],
    ],
  },
  {
    row: 28,
    what: 'a second value that hides the first',
    lists: ['exchanges'],
    tests: [[around, 'row 28: of several fields of one name each counts, in any order']],
    note: 'no AuthorizationPolicy looks at fields; routes and faults that do hold if any value meets them (src/route/README.md)',
  },
  { row: 29, what: 'names that CGI-like servers take for reserved ones', lists: ['exchanges'] },
  {
    row: 30,
    what: 'regular expressions: run-away, unescaped dots, bytes that are no text',
    tests: [
      [around, 'row 30: a regular expression takes linear time'],
      ['src/route/table.test.ts', 'a regex that would run away takes linear time'],
      ['src/policy/authorize.test.ts', 'a dot in a principal is a dot (CVE-2026-39350)'],
      ['src/policy/authorize.test.ts', 'what is no address is denied'],
    ],
  },
  {
    row: 31,
    what: 'identity and origin claimed by a field',
    lists: ['exchanges'],
    tests: [['test/integration/mesh-http.test.ts', 'an application cannot speak in the name of the mesh']],
  },
  {
    row: 32,
    what: 'JWT: algorithm, key, issuer',
    note: 'no policy reads a token of a request: there is no JWT to forge',
  },
  {
    row: 33,
    what: 'certificates that say more, or something else, than they may',
    tests: [
      [tls, "a client with a bad certificate that the mesh's own root has signed gets nothing"],
      [tls, 'nor does one whose certificate leads elsewhere, or nowhere'],
      [tls, 'a server with a bad certificate gets no byte of a request'],
      ['src/identity/peer.test.ts', 'badCertificates'],
      ['test/integration/mesh-identity.test.ts', 'a certificate of another authority, or of another trust domain'],
      ['test/netns/sidecars.test.ts', 'a certificate of the wrong trust domain or of another root gets no byte'],
      ['test/integration/control-identity.test.ts', 'a workload is no control plane'],
    ],
  },
  {
    row: 34,
    what: 'a session that outlives a change of trust',
    tests: [
      [tls, 'no session is resumed: every connection proves itself (CVE-2022-21654)'],
      ['test/integration/mesh-identity.test.ts', 'rotates certificates under load'],
    ],
  },
  {
    row: 35,
    what: 'greetings that crash or leak: server names',
    tests: [
      [tls, 'whatever a greeting says whom it is for'],
      ['test/integration/tls-passthrough.test.ts', 'nonsense is reset, and nobody gets a byte'],
    ],
  },
  {
    row: 36,
    what: 'the admin API reached from outside, by a name or from a web page',
    tests: [
      [around, 'row 36: the admin API is not behind any way into the mesh'],
      [around, 'rows 36, 37, 39: nobody is helped to reach the Pod itself'],
      ['src/admin/server.test.ts', 'refuses names that a web page could stand behind, on every port and path'],
      ['src/admin/server.test.ts', 'changes state by POST only, and not for web pages'],
      ['src/admin/server.test.ts', 'shows stats, backends and policy, and never a key'],
      ['test/netns/sidecars.test.ts', 'the admin API is not behind either'],
      ['test/netns/pod.test.ts', 'quitquitquit is for the Pod alone'],
    ],
  },
  {
    row: 37,
    what: 'the sidecar calls itself',
    tests: [
      [around, 'rows 36, 37, 39: nobody is helped to reach the Pod itself'],
      ['src/listener/loop-guard.test.ts', 'own-socket: a connection that we dialled ourselves'],
      ['test/netns/capture.test.ts', 'is dropped, with no second hop'],
      ['test/netns/capture.test.ts', 'a proxy under the wrong user captures itself'],
      ['test/netns/sidecars.test.ts', 'dialled directly is refused'],
    ],
  },
  {
    row: 38,
    what: 'the traffic of another namespace steered',
    tests: [
      [around, 'row 38: nobody steers the traffic of another namespace'],
      ['control-plane/model/check.test.ts', 'a policy does not reach targets of another namespace'],
      ['src/route/table.test.ts', 'consumer routes come first for their namespace, and do not exist for others'],
    ],
  },
  {
    row: 39,
    what: 'a name that turns into a local address',
    tests: [
      [around, 'rows 36, 37, 39: nobody is helped to reach the Pod itself'],
      ['src/upstream/outside.test.ts', 'nor a name for it'],
      ['src/upstream/outside.test.ts', 'is forgotten when clients invent names'],
    ],
    note: 'one address is taken of an answer, and kept 5 s',
  },
  {
    row: 40,
    what: 'lines of a log and spans of a trace, written by a stranger',
    lists: ['exchanges'],
    tests: [
      [around, 'row 40: one line of printable ASCII for each request'],
      ['src/telemetry/access-log.test.ts', 'stay on one line, any of them'],
      ['src/telemetry/trace-context.test.ts', 'never throws and never accepts a value that could break a header'],
      ['src/telemetry/spans.test.ts', 'keeps names few, and tokens and control characters out'],
    ],
  },
  {
    row: 41,
    what: 'names that every object has',
    lists: ['exchanges'],
    tests: [['src/api/policy/kinds.test.ts', 'names that every object has are no kinds']],
  },

  // Exhaustion.
  {
    row: 42,
    what: 'bodies kept for a retry',
    tests: [
      [processes, 'row 42: a hundred uploads of 50 MB'],
      ['src/policy/retry.test.ts', 'one past the limit is not sent again'],
      [engine, 'an upstream that stops reading stops the client'],
    ],
  },
  {
    row: 43,
    what: 'mirrors without end',
    tests: [
      [exhaustion, 'row 43: a mirror whose answer has no end is cut off'],
      [exhaustion, 'row 43: mirrors that never answer are no more than the limit'],
      ['src/policy/mirror.test.ts', 'no more at a time than the limit'],
    ],
  },
  { row: 44, what: 'decompression', lists: ['exchanges'], note: 'nothing is ever decompressed' },
  {
    row: 45,
    what: 'slow heads, bodies and readers',
    tests: [
      [exhaustion, 'connections without a byte: closed after 10 s'],
      [exhaustion, 'heads that come byte by byte (slowloris)'],
      [exhaustion, 'bodies that stop: 408 after 60 s'],
      [exhaustion, 'readers that stop: cut off after 60 s'],
      [engine, 'a reader that stops stops the upstream, and memory does not grow'],
    ],
    note: 'a body may be slow as long as it moves within bodyTimeoutMs: uploads of sensors and long polls are; it holds one connection and no buffer',
  },
  {
    row: 46,
    what: 'idle connections',
    tests: [
      [exhaustion, 'idle connections: at most 20 KiB each'],
      ['src/listener/listener.test.ts', 'past connectionsMax a connection is reset and counted'],
    ],
  },
  {
    row: 47,
    what: 'series of metrics that a client invents',
    tests: [
      [around, 'row 47: what a client can invent makes no series'],
      ['src/telemetry/series.test.ts', 'holds its cap against 100,000 label sets'],
      ['src/telemetry/telemetry.test.ts', 'never shows more than 5,000 series, whatever the traffic'],
    ],
  },
  {
    row: 48,
    what: 'little input, much work: hashes, expressions, depth',
    tests: [
      [exhaustion, 'row 48: no head of 64 KB costs more than 100 ms'],
      [exhaustion, 'row 48: a document ten thousand levels deep'],
      ['src/route/path-readings.test.ts', 'no path makes work that grows faster than the path'],
      ['src/telemetry/trace-context.test.ts', 'takes time that grows with the length, not with its square'],
    ],
  },
  {
    row: 49,
    what: 'a subscriber that never reads',
    tests: [
      ['test/integration/control-stream.test.ts', 'a sidecar that never answers delays no other'],
      ['control-plane/stream/session.test.ts', 'who does not answer a delta is dropped after 30 s'],
    ],
  },
  {
    row: 50,
    what: 'no descriptors left',
    tests: [
      [processes, 'row 50: a sidecar with 256 descriptors and 1,000 clients'],
      [
        'src/listener/listener.test.ts',
        'at the limit of descriptors: reset and counted, never a plain end, and it recovers',
      ],
    ],
  },
]
