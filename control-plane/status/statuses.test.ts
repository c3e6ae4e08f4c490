import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Document } from '../../src/api/documents/document.ts'
import type { Kind } from '../../src/api/policy/kinds.ts'
import type { ApiObject } from '../kubernetes/cluster.ts'
import { checkPolicies } from '../model/check-policies.ts'
import { indexDocuments } from '../model/document-index.ts'
import { meshModel } from '../model/mesh-model.ts'
import { readObject } from '../sources/kubernetes/read-object.ts'
import type { Kept } from '../sources/kubernetes/source.ts'
import type { Condition } from './condition.ts'
import { byOrigin } from './policy-status.ts'
import { type Acks, noAcks } from './programmed.ts'
import { staleStatuses } from './statuses.ts'

const now = '2026-03-01T12:00:00Z'
const controllerName = 'outrigger.dev/mesh-controller'

interface Status {
  readonly conditions?: readonly Condition[]
  readonly parents?: readonly { parentRef: object; controllerName: string; conditions: readonly Condition[] }[]
  readonly ancestors?: readonly { ancestorRef: object; controllerName: string; conditions: readonly Condition[] }[]
}

const object = (kind: Kind, name: string, spec: object, more: object = {}): ApiObject => ({
  kind,
  metadata: { name, namespace: 'shop', uid: name, generation: 2, resourceVersion: '1', creationTimestamp: now },
  spec,
  ...more,
})
const service = (name: string, ports: object[] = [{ port: 80 }], spec: object = {}): ApiObject =>
  object('Service', name, { ports, ...spec })
const parent = { group: '', kind: 'Service', name: 'orders' }
const route = (rules: object[], spec: object = {}, more: object = {}): ApiObject =>
  object('HTTPRoute', 'r', { parentRefs: [parent], rules, ...spec }, more)
const toOrders = [{ kind: 'Service', name: 'orders' }]

function kept(one: ApiObject, before?: Document): Kept {
  const reading = readObject(one.kind as Kind, one)
  return { reading, good: reading.document ?? before }
}

/** The statuses that would be written, by name. */
function statuses(
  objects: readonly (ApiObject | Kept)[],
  acks: Readonly<Record<string, Partial<Acks>>> = {},
  isPublished = true,
): Record<string, Status> {
  const all = objects.map((one) => ('reading' in one ? (one as Kept) : kept(one as ApiObject)))
  const model = meshModel(indexDocuments(all.flatMap(({ good }) => (good === undefined ? [] : [good]))))
  const stale = staleStatuses({
    objects: all.filter(({ reading }) => reading.written !== undefined),
    model,
    unread: new Map(),
    problems: byOrigin(checkPolicies(model, Date.parse(now))),
    isPublished,
    acks: new Map(Object.entries(acks).map(([key, one]) => [key, { ...noAcks, ...one }])),
    now,
  })
  return Object.fromEntries([...stale].map(({ object: { reading }, status }) => [reading.name, status as Status]))
}

const said = (conditions: readonly Condition[] = []): string[] =>
  conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`)
const message = (conditions: readonly Condition[] | undefined, type: string): string =>
  conditions?.find((one) => one.type === type)?.message ?? ''
const backend = (name: string, port = 80, more: object = {}): object => ({ backendRefs: [{ name, port, ...more }] })

describe('HTTPRoute', () => {
  const ofRoute = (objects: readonly (ApiObject | Kept)[], acks = {}) => statuses(objects, acks)['r']!.parents![0]!

  it('is accepted for a Service, with all it refers to', () => {
    const found = ofRoute([service('orders'), route([backend('orders')])], {
      'HTTPRoute/shop/r': { sidecars: 2, acked: 2 },
    })
    assert.deepEqual(found.parentRef, parent)
    assert.equal(found.controllerName, controllerName)
    assert.deepEqual(said(found.conditions), [
      'Accepted True Accepted',
      'ResolvedRefs True ResolvedRefs',
      'Programmed True Programmed',
    ])
    for (const condition of found.conditions) {
      assert.equal(condition.observedGeneration, 2)
      assert.equal(condition.lastTransitionTime, now)
    }
  })

  const refs: [what: string, objects: ApiObject[], rule: object, reason: string, message: RegExp][] = [
    [
      'a Service that is not there',
      [],
      backend('gone'),
      'BackendNotFound',
      /backendRefs\[0\].*shop\/gone does not exist/,
    ],
    ['a port that it does not have', [service('a')], backend('a', 81), 'BackendNotFound', /no TCP port 81.*80/],
    [
      'a Service that another namespace does not have',
      [],
      backend('a', 80, { namespace: 'other' }),
      'BackendNotFound',
      /other\/a does not exist/,
    ],
    [
      'another kind',
      [],
      backend('a', 80, { kind: 'Bucket', group: 'x.test' }),
      'InvalidKind',
      /Bucket\.x\.test shop\/a cannot be a backend/,
    ],
    [
      'TLS of its own',
      [service('a', [{ port: 80, appProtocol: 'https' }])],
      backend('a'),
      'UnsupportedProtocol',
      /port 80 as TLS/,
    ],
    [
      'an alias of DNS',
      [service('a', [{ port: 80 }], { type: 'ExternalName', externalName: 'a.test' })],
      backend('a'),
      'UnsupportedValue',
      /ExternalName/,
    ],
    [
      'a mirror that is not there',
      [],
      { filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'copy', port: 80 } } }] },
      'BackendNotFound',
      /filters\[0\]\.requestMirror\.backendRef.*shop\/copy/,
    ],
    [
      'a fault that is not there',
      [],
      {
        filters: [
          { type: 'ExtensionRef', extensionRef: { group: 'outrigger.dev', kind: 'FaultInjection', name: 'f' } },
        ],
      },
      'ExtensionNotFound',
      /FaultInjection shop\/f does not exist/,
    ],
  ]
  for (const [what, others, rule, reason, words] of refs) {
    it(`does not resolve ${what}`, () => {
      const { conditions } = ofRoute([service('orders'), ...others, route([rule])])
      assert.deepEqual(said(conditions).slice(0, 2), ['Accepted True Accepted', `ResolvedRefs False ${reason}`])
      assert.match(message(conditions, 'ResolvedRefs'), words)
    })
  }

  it('names three of the references that are wrong, and counts the others', () => {
    const { conditions } = ofRoute([service('orders'), route(['a', 'b', 'c', 'd', 'e'].map((name) => backend(name)))])
    assert.match(message(conditions, 'ResolvedRefs'), /shop\/a .*shop\/b .*shop\/c does not exist; and 2 more$/)
  })

  const parents: [what: string, objects: ApiObject[], ref: object, words: RegExp][] = [
    ['is not there', [], {}, /shop\/orders does not exist/],
    ['has no such port', [service('orders')], { port: 81 }, /no TCP port 81/],
    ['has no port of that name', [service('orders')], { sectionName: 'web' }, /no TCP port named web/],
    ['speaks no HTTP', [service('orders', [{ port: 80, name: 'tcp' }])], {}, /opaque/],
  ]
  for (const [what, others, ref, words] of parents) {
    it(`is not accepted for a Service that ${what}`, () => {
      const { conditions } = ofRoute([...others, route([], { parentRefs: [{ ...parent, ...ref }], rules: [{}] })])
      assert.deepEqual(said(conditions), [
        'Accepted False NoMatchingParent',
        'ResolvedRefs True ResolvedRefs',
        'Programmed False NoMatchingParent',
      ])
      assert.match(message(conditions, 'Accepted'), words)
    })
  }

  it('says for whom it holds', () => {
    const consumer = route([{}], { parentRefs: [{ ...parent, namespace: 'web' }] })
    const orders = { ...service('orders'), metadata: { name: 'orders', namespace: 'web' } }
    assert.match(message(ofRoute([orders, consumer]).conditions, 'Accepted'), /callers of namespace shop only/)
    assert.match(message(ofRoute([service('orders'), route([{}])]).conditions, 'Accepted'), /every caller/)
  })

  it('with a Gateway for a parent is left to whoever serves that', () => {
    const gateway = { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'g' }
    const foreign = { parentRef: gateway, controllerName: 'x.test/c', conditions: [{ type: 'Accepted' }] }
    const both = route([{}], { parentRefs: [gateway, parent] }, { status: { parents: [foreign] } })
    const { parents: list } = statuses([service('orders'), both])['r']!
    assert.deepEqual(
      list!.map(({ controllerName: name }) => name),
      ['x.test/c', controllerName],
    )
    assert.deepEqual(list![0], foreign)
    assert.deepEqual(statuses([route([{}], { parentRefs: [gateway] }, { status: { parents: [foreign] } })]), {})
  })

  it('that cannot be read keeps its version before, and says so', () => {
    const good = kept(route([backend('orders')])).good
    const broken = route([{ timeouts: { request: 'soon' } }])
    const { conditions } = ofRoute([service('orders'), kept(broken, good)])
    assert.deepEqual(said(conditions), [
      'Accepted False UnsupportedValue',
      'ResolvedRefs Unknown UnsupportedValue',
      'Programmed False UnsupportedValue',
    ])
    assert.match(message(conditions, 'Accepted'), /spec\.rules\[0\]\.timeouts\.request: "soon" is not a duration/)
    assert.match(message(conditions, 'Programmed'), /the version before stays in force/)
    assert.match(message(ofRoute([broken]).conditions, 'Programmed'), /no version of it is in force/)
  })
})

describe('GRPCRoute', () => {
  const grpc = [{ name: 'grpc', port: 80 }]
  const grpcRoute = (name: string, rules: object[], spec: object = {}): ApiObject =>
    object('GRPCRoute', name, { parentRefs: [parent], rules, ...spec })
  const ofRoute = (name: string, objects: readonly (ApiObject | Kept)[], acks = {}) =>
    statuses(objects, acks)[name]!.parents!.map(({ conditions }) => conditions)

  it('has the conditions that an HTTPRoute has', () => {
    const whole = [service('orders', grpc), grpcRoute('g', [backend('orders')])]
    const [found] = ofRoute('g', whole, { 'GRPCRoute/shop/g': { sidecars: 2, acked: 2 } })
    assert.deepEqual(said(found), [
      'Accepted True Accepted',
      'ResolvedRefs True ResolvedRefs',
      'Programmed True Programmed',
    ])
    assert.ok(found!.every(({ observedGeneration }) => observedGeneration === 2))
    const [gone] = ofRoute('g', [service('orders', grpc), grpcRoute('g', [backend('gone')])])
    assert.deepEqual(said(gone).slice(0, 2), ['Accepted True Accepted', 'ResolvedRefs False BackendNotFound'])
    const [alone] = ofRoute('g', [grpcRoute('g', [backend('orders')])])
    assert.deepEqual(said(alone)[0], 'Accepted False NoMatchingParent')
    const [broken] = ofRoute('g', [service('orders', grpc), grpcRoute('g', [{ matches: [{ method: {} }] }])])
    assert.deepEqual(said(broken)[0], 'Accepted False UnsupportedValue')
    assert.match(message(broken, 'Accepted'), /spec\.rules\[0\]\.matches\[0\]\.method: set service, method or both/)
  })

  it('comes before an HTTPRoute for the same port, which is in conflict', () => {
    const all = [service('orders', grpc), route([backend('orders')]), grpcRoute('g', [backend('orders')])]
    const acks = { 'GRPCRoute/shop/g': {}, 'HTTPRoute/shop/r': {} }
    assert.deepEqual(said(ofRoute('g', all, acks)[0])[0], 'Accepted True Accepted')
    const [lost] = ofRoute('r', all, acks)
    assert.deepEqual(said(lost), [
      'Accepted False Conflicted',
      'ResolvedRefs True ResolvedRefs',
      'Programmed False Conflicted',
    ])
    assert.match(
      message(lost, 'Accepted'),
      /^GRPCRoute shop\/g has port 80 of Service shop\/orders: GRPCRoute comes first$/,
    )
  })

  it('leaves ports for HTTP/1.1 alone, and is not accepted when there is no other one', () => {
    const both = [
      { name: 'http', port: 80 },
      { name: 'grpc', port: 90 },
    ]
    const g = grpcRoute('g', [backend('orders')])
    const http = { parentRefs: [{ ...parent, port: 80 }] }
    const [beside] = ofRoute('r', [service('orders', both), route([backend('orders')], http), g])
    assert.deepEqual(said(beside)[0], 'Accepted True Accepted')
    const [all] = ofRoute('g', [service('orders', both), g])
    assert.equal(message(all, 'Accepted'), 'holds for every caller of Service shop/orders on port 90')
    for (const objects of [
      [service('orders', [both[0]!]), g],
      [service('orders', both), grpcRoute('g', [backend('orders')], http)],
    ]) {
      const [none] = ofRoute('g', objects)
      assert.deepEqual(said(none)[0], 'Accepted False NoMatchingParent')
      assert.match(message(none, 'Accepted'), /as HTTP\/1\.1; a port for gRPC has appProtocol kubernetes\.io\/h2c/)
    }
  })

  it('leaves an HTTPRoute the ports that it is not for, and the parents', () => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'grpc', port: 90 },
    ]
    const parents = [parent, { ...parent, port: 90 }, { ...parent, name: 'other' }]
    const all = [
      service('orders', ports),
      service('other'),
      route([backend('orders')], { parentRefs: parents }),
      grpcRoute('g', [backend('orders')], { parentRefs: [{ ...parent, sectionName: 'grpc' }] }),
    ]
    const [partly, wholly, untouched] = ofRoute('r', all, { 'HTTPRoute/shop/r': { sidecars: 1, acked: 1 } })
    assert.deepEqual(said(partly)[0], 'Accepted True Accepted')
    assert.match(
      message(partly, 'Accepted'),
      /^holds for every caller of Service shop\/orders on port 80; GRPCRoute shop\/g has port 90 of Service shop\/orders$/,
    )
    assert.deepEqual(said(wholly), [
      'Accepted False Conflicted',
      'ResolvedRefs True ResolvedRefs',
      'Programmed False Conflicted',
    ])
    assert.deepEqual(said(untouched)[2], 'Programmed True Programmed')
  })
})

describe('policies', () => {
  const backendPolicy = (name: string, more: object = {}, created = now): ApiObject => {
    const one = object('BackendPolicy', name, { targetRefs: toOrders, ...more })
    return { ...one, metadata: { ...one.metadata, creationTimestamp: created } }
  }

  it('are accepted for a target that is there', () => {
    const { conditions, ancestors } = statuses([service('orders'), backendPolicy('p')], {
      'BackendPolicy/shop/p': { sidecars: 3, acked: 3 },
    })['p']!
    assert.deepEqual(said(conditions), [
      'Accepted True Accepted',
      'ResolvedRefs True ResolvedRefs',
      'Programmed True Programmed',
    ])
    assert.deepEqual(
      ancestors!.map(({ ancestorRef, conditions: own }) => [ancestorRef, said(own)]),
      [[{ group: '', kind: 'Service', namespace: 'shop', name: 'orders' }, ['Accepted True Accepted']]],
    )
  })

  it('are not accepted when no target is there, and are when one is', () => {
    const gone = { kind: 'Service', name: 'gone' }
    const none = statuses([service('orders'), backendPolicy('p', { targetRefs: [gone] })])['p']!
    assert.deepEqual(said(none.conditions), [
      'Accepted False TargetNotFound',
      'ResolvedRefs False TargetNotFound',
      'Programmed False TargetNotFound',
    ])
    assert.match(message(none.conditions, 'Accepted'), /spec\.targetRefs\[0\]\.name: Service shop\/gone does not exist/)
    const one = statuses([service('orders'), backendPolicy('p', { targetRefs: [gone, ...toOrders] })])['p']!
    assert.deepEqual(said(one.conditions).slice(0, 2), ['Accepted True Accepted', 'ResolvedRefs False TargetNotFound'])
    assert.deepEqual(
      one.ancestors!.map(({ conditions: own }) => said(own)),
      [['Accepted False TargetNotFound'], ['Accepted True Accepted']],
    )
  })

  it('that lose to an older one are in conflict', () => {
    const all = [service('orders'), backendPolicy('young'), backendPolicy('old', {}, '2026-01-01T00:00:00Z')]
    const { young, old } = statuses(all, { 'BackendPolicy/shop/old': {} })
    assert.deepEqual(said(young!.conditions)[0], 'Accepted False Conflicted')
    assert.match(message(young!.conditions, 'Accepted'), /conflicts with BackendPolicy shop\/old/)
    assert.deepEqual(said(young!.ancestors![0]!.conditions), ['Accepted False Conflicted'])
    assert.deepEqual(said(old!.conditions)[0], 'Accepted True Accepted')
  })

  it('with a selector that lose everywhere are in conflict, those that hold somewhere are not', () => {
    const peer = (name: string, created: string) => {
      const one = object('PeerAuthentication', name, { mtls: { mode: 'STRICT' } })
      return { ...one, metadata: { ...one.metadata, creationTimestamp: created } }
    }
    const both = [peer('b', now), peer('a', '2026-01-01T00:00:00Z')]
    const acks = { 'PeerAuthentication/shop/a': { sidecars: 1, acked: 1 } }
    assert.deepEqual(said(statuses(both, acks)['b']!.conditions)[0], 'Accepted False Conflicted')
    assert.deepEqual(said(statuses(both, acks)['a']!.conditions)[0], 'Accepted True Accepted')
    const partly = statuses(both, { ...acks, 'PeerAuthentication/shop/b': { sidecars: 1, acked: 1 } })['b']!
    assert.deepEqual(said(partly.conditions)[0], 'Accepted True Accepted')
    assert.match(message(partly.conditions, 'Accepted'), /conflicts with/)
  })

  it('end by themselves', () => {
    const fault = { targetRefs: toOrders, abort: { httpStatus: 503 }, expiresAt: '2026-03-01T11:59:00Z' }
    const { conditions } = statuses([service('orders'), object('FaultInjection', 'f', fault)])['f']!
    assert.deepEqual(said(conditions), [
      'Accepted False Expired',
      'ResolvedRefs True ResolvedRefs',
      'Programmed False Expired',
    ])
  })

  it('that cannot be read say where and what stays in force', () => {
    const good = kept(object('AuthorizationPolicy', 'a', { rules: [] })).good
    const broken = object('AuthorizationPolicy', 'a', { rules: [{ from: [{ ipBlocks: ['10.0.0.0/33', 'x'] }] }] })
    const { conditions, ancestors } = statuses([kept(broken, good)])['a']!
    assert.deepEqual(said(conditions), [
      'Accepted False Invalid',
      'ResolvedRefs Unknown Invalid',
      'Programmed False Invalid',
    ])
    assert.match(
      message(conditions, 'Accepted'),
      /^spec\.rules\[0\]\.from\[0\]\.ipBlocks\[0\]: "10\.0\.0\.0\/33" is not an address.*\(and 1 more problems\)$/,
    )
    assert.match(message(conditions, 'Programmed'), /version 2 stays in force/)
    assert.equal(ancestors, undefined)
  })

  it('that no workload has say that they have no effect', () => {
    const one = object('PeerAuthentication', 'p', { selector: { matchLabels: { app: 'x' } }, mtls: { mode: 'STRICT' } })
    const { conditions } = statuses([one])['p']!
    assert.deepEqual(said(conditions), [
      'Accepted True Accepted',
      'ResolvedRefs True ResolvedRefs',
      'Programmed Unknown NoEffect',
    ])
    assert.match(message(conditions, 'Programmed'), /selects no Pod/)
  })

  it('are not programmed while nothing is published', () => {
    const all = [service('orders'), backendPolicy('p'), route([{}])]
    const { p, r } = statuses(all, {}, false)
    for (const conditions of [p!.conditions, r!.parents![0]!.conditions])
      assert.deepEqual(
        [said(conditions)[0], said(conditions)[2]],
        ['Accepted True Accepted', 'Programmed False Pending'],
      )
  })

  const programmed: [acks: Partial<Acks>, said: string, words: RegExp][] = [
    [{}, 'Unknown NoSidecars', /no sidecar is connected/],
    [{ sidecars: 3, acked: 2 }, 'False Pending', /^2 of 3 connected sidecars/],
    [
      { sidecars: 3, acked: 3, unasked: ['outrigger-b'] },
      'Unknown ReplicaNotReached',
      /not counted are those of outrigger-b/,
    ],
    [
      {
        sidecars: 9,
        acked: 5,
        rejected: 4,
        rejections: [{ workload: 'shop/web-1', resource: 'service/shop/orders', reason: 'too large' }],
      },
      'False Rejected',
      /^5 of 9 .*; shop\/web-1 refused service\/shop\/orders: too large; and 3 more$/,
    ],
  ]
  for (const [acks, words, text] of programmed) {
    it(`are programmed: ${words}`, () => {
      const { conditions } = statuses([service('orders'), backendPolicy('p')], { 'BackendPolicy/shop/p': acks })['p']!
      assert.equal(said(conditions)[2], `Programmed ${words}`)
      assert.match(message(conditions, 'Programmed'), text)
    })
  }
})

describe('what stands already', () => {
  const acks = { 'HTTPRoute/shop/r': { sidecars: 1, acked: 1 } }
  const first = (more: object = {}) => statuses([service('orders'), route([backend('orders')], {}, more)], acks)['r']

  it('is not written again, in whatever order the API server gives its fields', () => {
    const status = first()!
    const shuffled = JSON.parse(JSON.stringify(status), (_key, value: unknown) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).reverse())
        : value,
    ) as object
    assert.equal(first({ status: shuffled }), undefined)
  })

  it('keeps its time while the status of a condition stays, and its place in the list', () => {
    const status = structuredClone(first()!) as unknown as {
      parents: { conditions: { lastTransitionTime: string }[] }[]
    }
    for (const condition of status.parents[0]!.conditions) condition.lastTransitionTime = '2026-01-01T00:00:00Z'
    const foreign = { parentRef: parent, controllerName: 'x.test/c', conditions: [{ type: 'Accepted' }] }
    const parents = [...status.parents, foreign]
    const { parents: next } = statuses(
      [service('orders'), route([backend('gone')], {}, { status: { parents } })],
      acks,
    )['r']!
    assert.deepEqual(next![1], foreign)
    assert.deepEqual(
      next![0]!.conditions.map(({ type, status: is, lastTransitionTime }) => [type, is, lastTransitionTime]),
      [
        ['Accepted', 'True', '2026-01-01T00:00:00Z'],
        ['ResolvedRefs', 'False', now],
        ['Programmed', 'True', '2026-01-01T00:00:00Z'],
      ],
    )
  })

  it('of a parent that is gone goes, and only ours', () => {
    const foreign = { parentRef: parent, controllerName: 'x.test/c', conditions: [{ type: 'Accepted' }] }
    const before = { parents: [...first()!.parents!, foreign] }
    const moved = route([{}], { parentRefs: [{ ...parent, name: 'stock' }] }, { status: before })
    const { parents } = statuses([service('stock'), moved])['r']!
    assert.deepEqual(
      parents!.map(({ parentRef, controllerName: name }) => [(parentRef as { name: string }).name, name]),
      [
        ['orders', 'x.test/c'],
        ['stock', controllerName],
      ],
    )
  })
})
