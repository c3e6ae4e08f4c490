// Every kind of document that the mesh reads. A new kind is one schema file and one line here.
import type { z } from 'zod'
import { authorizationPolicy } from './authorization-policy.ts'
import { backendPolicy } from './backend-policy.ts'
import { endpointSlice } from './endpoint-slice.ts'
import { faultInjection } from './fault-injection.ts'
import { grpcRoute } from './grpc-route.ts'
import { httpRoute } from './http-route.ts'
import { namespace } from './namespace.ts'
import { peerAuthentication } from './peer-authentication.ts'
import { pod } from './pod.ts'
import { service } from './service.ts'
import { serviceAccount } from './service-account.ts'
import { telemetryPolicy } from './telemetry-policy.ts'

/** What is known of a kind besides its schema; the words are those of `kubectl api-resources`. */
export interface KindTraits {
  readonly apiVersion: string
  /** Versions of the same content that a file may have, too. */
  readonly alsoVersions?: readonly string[]
  readonly plural: string
  readonly shortNames: readonly string[]
  readonly scope: 'Namespaced' | 'Cluster'
  /** strict: unknown fields are errors. loose (core kinds): they are warnings. */
  readonly unknownFields: 'strict' | 'loose'
  readonly schema: z.ZodType
}

const ours = { apiVersion: 'outrigger.dev/v1alpha1', scope: 'Namespaced', unknownFields: 'strict' } as const
const core = { apiVersion: 'v1', scope: 'Namespaced', unknownFields: 'loose' } as const

/** The registry, by kind. */
export const kinds = {
  HTTPRoute: {
    apiVersion: 'gateway.networking.k8s.io/v1',
    alsoVersions: ['gateway.networking.k8s.io/v1beta1'],
    plural: 'httproutes',
    shortNames: [],
    scope: 'Namespaced',
    unknownFields: 'strict',
    schema: httpRoute,
  },
  GRPCRoute: {
    apiVersion: 'gateway.networking.k8s.io/v1',
    plural: 'grpcroutes',
    shortNames: [],
    scope: 'Namespaced',
    unknownFields: 'strict',
    schema: grpcRoute,
  },
  BackendPolicy: { ...ours, plural: 'backendpolicies', shortNames: ['bep'], schema: backendPolicy },
  FaultInjection: { ...ours, plural: 'faultinjections', shortNames: ['fi'], schema: faultInjection },
  PeerAuthentication: { ...ours, plural: 'peerauthentications', shortNames: ['pa'], schema: peerAuthentication },
  AuthorizationPolicy: {
    ...ours,
    plural: 'authorizationpolicies',
    shortNames: ['authzpol'],
    schema: authorizationPolicy,
  },
  TelemetryPolicy: { ...ours, plural: 'telemetrypolicies', shortNames: ['telpol'], schema: telemetryPolicy },
  Service: { ...core, plural: 'services', shortNames: ['svc'], schema: service },
  EndpointSlice: {
    ...core,
    apiVersion: 'discovery.k8s.io/v1',
    plural: 'endpointslices',
    shortNames: [],
    schema: endpointSlice,
  },
  Pod: { ...core, plural: 'pods', shortNames: ['po'], schema: pod },
  Namespace: { ...core, plural: 'namespaces', shortNames: ['ns'], scope: 'Cluster', schema: namespace },
  ServiceAccount: { ...core, plural: 'serviceaccounts', shortNames: ['sa'], schema: serviceAccount },
} as const satisfies Record<string, KindTraits>

/** Name of a kind that the mesh reads. */
export type Kind = keyof typeof kinds

/** Parsed value of a document of a kind, defaults filled in. */
export type KindValue<K extends Kind> = z.infer<(typeof kinds)[K]['schema']>

/** Every kind's name, in the order of the registry. */
export const kindNames = Object.keys(kinds) as readonly Kind[]

/** True for the name of a kind in the registry, never for a name that every object has ("constructor"). */
export function isKind(name: string): name is Kind {
  return Object.hasOwn(kinds, name)
}

/** The kind that a user means: its name, plural or short name, without case (as kubectl does). */
export function findKind(word: string): Kind | undefined {
  const wanted = word.toLowerCase()
  return kindNames.find((kind) => {
    const { plural, shortNames }: KindTraits = kinds[kind]
    return kind.toLowerCase() === wanted || plural === wanted || shortNames.includes(wanted)
  })
}
