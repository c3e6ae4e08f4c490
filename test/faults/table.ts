/**
 * What can go wrong around the mesh, what must then hold, and the tests that show it. A check of `test/tidy.test.ts` sees
 * that each of them is there. What goes wrong inside one request is the table of error codes (src/README.md).
 */

/** A file, and the beginning of the name of a test in it. */
export type TestPlace = readonly [file: string, test: string]

export interface Fault {
  readonly number: number
  /** What goes wrong. */
  readonly fault: string
  /** What must hold. */
  readonly holds: string
  readonly tests: readonly TestPlace[]
  /** Only where there is no test: why. */
  readonly untested?: string
}

const upstream = 'test/integration/faults-upstream.test.ts'
const sidecar = 'test/integration/faults-sidecar.test.ts'
const program = 'test/integration/faults-process.test.ts'
const outages = 'test/integration/outage-processes.test.ts'

export const faults: readonly Fault[] = [
  // The control plane.
  {
    number: 1,
    fault: 'the control plane is killed',
    holds: 'traffic goes on, new connections too; all in sync 2 s after it is back',
    tests: [
      [outages, 'kill -9 of the control plane under load'],
      ['test/integration/mesh-outage.test.ts', 'traffic with new connections goes on'],
    ],
  },
  {
    number: 2,
    fault: 'a sidecar starts without the control plane',
    holds: 'on its last good policy, STRICT and DENY included; without one it is not ready, and lets nothing in',
    tests: [
      ['test/integration/mesh-outage.test.ts', 'a sidecar that starts during the outage serves STRICT'],
      [outages, 'one that has nothing on disk comes up, is not ready'],
    ],
  },
  {
    number: 3,
    fault: 'the stream is cut without a word',
    holds: 'found within 15 s, replaced; nothing stale is left',
    tests: [['test/integration/control-identity.test.ts', 'a half-open connection is found within 15 s']],
  },
  {
    number: 4,
    fault: 'bad policy is pushed',
    holds: 'it is refused whole, its last good version stays, the others apply, and status says why',
    tests: [['test/integration/control-stream.test.ts', 'a rejected resource keeps its last good version']],
  },
  {
    number: 5,
    fault: 'the control plane restarts before its sources are read',
    holds: 'an empty snapshot is never the truth',
    tests: [
      ['control-plane/sources/kubernetes/source.test.ts', 'publishes nothing before every kind was listed'],
      ['test/integration/cold-start.test.ts', 'a policy that was spoiled while the control plane was down'],
    ],
  },
  {
    number: 6,
    fault: 'a replica with an older state',
    holds: 'replicas publish the same versions; a sidecar that moves is sent nothing',
    tests: [['test/integration/cluster-replicas.test.ts', 'replicas publish the same versions']],
  },
  {
    number: 7,
    fault: 'a watch of the API server ends: 410, reset, a gap',
    holds: 'in sync within 5 s; nothing that was held is taken back meanwhile',
    tests: [['control-plane/sources/kubernetes/source.test.ts', 'swaps what it holds when a version is gone']],
  },
  {
    number: 8,
    fault: 'the API server is down, or silent',
    holds: 'what is held stays; it is told',
    tests: [
      ['control-plane/sources/kubernetes/source.test.ts', 'tells what cannot be watched for longer'],
      ['control-plane/kubernetes/cluster.test.ts', 'gives up on an answer and on a watch that is silent'],
    ],
  },
  {
    number: 9,
    fault: 'a sidecar stops reading its stream',
    holds: 'no other waits for it; it is told the newest when it reads on',
    tests: [['test/integration/control-stream.test.ts', 'a sidecar that never answers delays no other']],
  },

  // Identity.
  {
    number: 10,
    fault: 'certificates are rotated, or expire',
    holds: 'a rotation under load fails nothing; past the expiry new connections are refused, those that stand go on',
    tests: [
      ['test/integration/mesh-identity.test.ts', 'rotates certificates under load'],
      [sidecar, 'F10, F11: the authority is gone until certificates have expired'],
    ],
  },
  {
    number: 11,
    fault: 'the authority is down',
    holds: 'nothing fails until the expiry; then all is refused, nothing is sent in plaintext; and back when it is',
    tests: [[sidecar, 'F10, F11: the authority is gone until certificates have expired']],
  },
  {
    number: 12,
    fault: 'the root is rotated',
    holds: 'both are trusted in between; nobody is refused',
    tests: [['test/integration/cluster-replicas.test.ts', 'a rotation of the root reaches sidecars that stand']],
  },
  {
    number: 13,
    fault: 'clocks differ, or jump',
    holds: 'five minutes do not matter, a day is named as the cause; timeouts are of a clock that does not jump',
    tests: [
      ['test/integration/control-identity.test.ts', 'clocks that differ by five minutes do not matter'],
      ['test/integration/control-identity.test.ts', 'a clock that is off by a day is named as the cause'],
    ],
  },

  // Upstreams.
  {
    number: 14,
    fault: 'an upstream loses the connection in the middle of a body, or before its answer',
    holds:
      'the client is told each time; nothing that reached it is sent again, no POST that was sent is; the connection is left',
    tests: [
      [upstream, 'F14: a body that breaks off'],
      [upstream, 'F14: a connection lost before the answer'],
      ['test/integration/mesh-errors.test.ts', 'UPSTREAM_RESET: before the answer'],
    ],
  },
  {
    number: 15,
    fault: 'an upstream ends an idle connection while a request is on its way',
    holds: 'a GET gets its answer; a POST is never sent twice',
    tests: [
      [upstream, 'F15: an upstream that ends idle connections'],
      ['test/integration/http1-engine.test.ts', 'but a POST is never sent twice'],
    ],
  },
  {
    number: 16,
    fault: 'a peer is half dead: accepts and says nothing, or lets no connection in',
    holds: 'it is ejected after a few tries; nobody else fails or waits',
    tests: [[upstream, 'F16: a peer that']],
  },
  {
    number: 17,
    fault: 'all endpoints are down',
    holds: '503 at once, with its reason; reached within a second of their return',
    tests: [[upstream, 'F17: all endpoints down']],
  },
  {
    number: 18,
    fault: 'half of all tries fail',
    holds: 'retries and hedges stay within the budget, for any upstream and any policy',
    tests: [
      ['test/integration/scenarios.test.ts', "{ name: 'retry-budget'"],
      ['src/policy/tries.test.ts', 'retries, hedging, deadlines and breakers keep their rules'],
    ],
  },

  // What the process stands on.
  {
    number: 19,
    fault: 'the disk is full, read-only or gone',
    holds: 'policy is obeyed and requests served; the copy is lost, with one line',
    tests: [
      [sidecar, 'F19: a state folder that is gone'],
      ['src/control/last-good.test.ts', 'a folder that cannot be written'],
      ['src/telemetry/line-writer.test.ts', 'keeps one megabyte for a reader that stalls'],
    ],
  },
  {
    number: 22,
    fault: 'the collector of traces hangs',
    holds: 'requests are served; spans past the queue are dropped, each counted',
    tests: [
      [sidecar, 'F22, F23: a collector that hangs'],
      ['src/telemetry/exporter.test.ts', 'holds its queue and no more while the collector hangs'],
    ],
  },
  {
    number: 23,
    fault: 'scrapers that do not read; labels without end',
    holds: 'other scrapes and requests are served; at most 5,000 series',
    tests: [
      [sidecar, 'F22, F23: a collector that hangs'],
      ['src/telemetry/telemetry.test.ts', 'never shows more than 5,000 series'],
    ],
  },
  {
    number: 24,
    fault: 'more requests than memory holds',
    holds: 'keep-alive goes off, requests are refused with 503 and Retry-After; nothing is killed, and it serves again',
    tests: [
      [program, 'F24: several times the requests that memory holds'],
      ['src/policy/overload.test.ts', 'first keep-alive goes off, then requests are refused'],
    ],
  },
  {
    number: 25,
    fault: 'a machine without CPU',
    holds: 'connects do not fail for it: fewer are made at a time, and a time of ours that stood still does not count',
    tests: [
      ['src/upstream/pool.test.ts', 'a dial without an answer costs nobody'],
      ['src/base/clock.test.ts', 'a stall of any length takes a fifth at most'],
    ],
  },
  {
    number: 27,
    fault: 'a sidecar is told to end under load',
    holds: 'no request is lost, without retries',
    tests: [
      [program, 'F27: two servers take turns to restart'],
      ['test/long/rolling-restarts.test.ts', 'F27: 0 of 20,000 requests are lost over 20 restarts'],
      ['test/integration/pod-life.test.ts', 'is replaced under load without a lost request'],
      ['test/cluster/rollout.test.ts', 'five rolling updates of a meshed Deployment'],
    ],
  },
  {
    number: 28,
    fault: 'a sidecar is killed',
    holds: 'the traffic of its application fails closed; nothing goes past it in plaintext',
    tests: [
      ['test/netns/sidecars.test.ts', 'a killed sidecar: the traffic of its application fails closed'],
      [outages, 'kill -9 of the client’s sidecar fails closed'],
    ],
  },
  {
    number: 29,
    fault: 'a mistake of ours in a layer',
    holds: 'one request gets 500, no other notices, nothing is counted as under way for ever',
    tests: [[sidecar, 'F29: a mistake of ours']],
  },
  {
    number: 30,
    fault: 'the event loop, or the whole process, stands still',
    holds: 'it is told and counted; what came in time meanwhile is not too late',
    tests: [
      [program, 'F30: a sidecar that stood still'],
      ['src/base/clock.test.ts', 'what came while the loop stood still is read before a timeout fires'],
    ],
  },
  {
    number: 31,
    fault: 'no file descriptors are left',
    holds: 'connections past the limit are reset and counted, never answered with nothing; it recovers',
    tests: [['src/listener/listener.test.ts', 'at the limit of descriptors']],
  },
  {
    number: 32,
    fault: 'DNS fails, hangs or takes a name back',
    holds: 'what a name meant holds for ten minutes, unless DNS says that it is gone',
    tests: [['src/upstream/outside.test.ts', 'that was known stays known while DNS fails or hangs']],
  },
  {
    number: 35,
    fault: 'policy changes all the time',
    holds: 'no request fails over 1,000 changes; no pool, timer, socket or watch is left behind',
    tests: [['test/integration/faults-config-swap.test.ts', 'fails no request, and leaves no pool']],
  },

  {
    number: 36,
    fault: 'a caller gives up: a deadline, a hedge that lost, a client that is gone',
    holds: 'the work ends at the application, two sidecars away; a client that only half-closed gets its answer',
    tests: [
      [upstream, 'F36: who gives up ends the work'],
      ['test/integration/http1-engine.test.ts', 'a client that half-closes after its request gets its answer'],
      ['test/integration/http1-engine.test.ts', 'and is told nothing for halfClosedTimeoutMs has left'],
    ],
  },

  // Not for a sidecar.
  {
    number: 20,
    fault: 'Redis fails',
    holds: '',
    tests: [],
    untested: 'the mesh has no rate limit service and no cache',
  },
  {
    number: 21,
    fault: 'a broker or another registry fails',
    holds: '',
    tests: [],
    untested: 'services come from files and from the API server only',
  },
  {
    number: 26,
    fault: '10,000 idle connections',
    holds: 'memory grows evenly; the idle timer ends them',
    tests: [['test/integration/http1-engine.test.ts', 'an idle connection is closed']],
  },
  {
    number: 33,
    fault: 'etcd is partitioned',
    holds: '',
    tests: [],
    untested: 'that is behind the API server, whose silence is row 8',
  },
  {
    number: 34,
    fault: 'packets are lost, or late',
    holds: '',
    tests: [],
    untested: 'TCP is the kernel’s; ours are the timeouts above it (rows 16 and 25)',
  },
]
