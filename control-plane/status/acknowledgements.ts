import { create } from '@bufbuild/protobuf'
import { type AcksRequest, AcksRequestSchema, type AcksResponse } from '../../src/api/gen/outrigger_pb.ts'
import type { Carriers, Published } from './carriers.ts'
import { type Acks, addAcks, noAcks } from './programmed.ts'

/** Question about some documents, and which is which in the answer. */
export interface AckQuestion {
  readonly request: AcksRequest
  /** Keys of documents, in the order of `request.policies`. */
  readonly keys: readonly string[]
}

/** Asks about every document that a resource carries, each resource in the version that is published now. */
export function ackQuestion(carriers: Carriers, published: Published): AckQuestion {
  const places = new Map<string, number>()
  const resources: { name: string; version: string }[] = []
  const placeOf = (name: string): number => {
    let place = places.get(name)
    if (place === undefined) {
      places.set(name, (place = resources.length))
      resources.push({ name, version: published.get(name)?.version ?? '' })
    }
    return place
  }
  const keys = [...carriers.keys()]
  const policies = keys.map((key) => ({ resources: [...carriers.get(key)!].map(placeOf) }))
  return { request: create(AcksRequestSchema, { resources, policies }), keys }
}

/** Adds up the answers of replicas. */
export function sumAcks(
  keys: readonly string[],
  answers: readonly AcksResponse[],
  unasked: readonly string[],
): ReadonlyMap<string, Acks> {
  return new Map(
    keys.map((key, at) => [
      key,
      answers.reduce<Acks>((sum, { policies }) => (policies[at] === undefined ? sum : addAcks(sum, policies[at])), {
        ...noAcks,
        unasked,
      }),
    ]),
  )
}
