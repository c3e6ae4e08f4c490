/** The ways into a mesh that speak HTTP/2, for a client that sends what it likes. */
import { dialAsPeer } from '../attack-lanes.ts'
import type { Mesh } from '../mesh.ts'
import { RawHttp2 } from './raw.ts'

/** In the order of `http2Lanes`. */
export const http2LaneNames = ['outbound', 'inbound in plaintext', 'inbound over mTLS'] as const

export interface Http2Lane {
  readonly name: (typeof http2LaneNames)[number]
  /** Resolves with a connection that has been greeted. */
  open(app: string): Promise<RawHttp2>
}

/** From the application of `client` through two sidecars; from a stranger; from a peer of the mesh that turned hostile. */
export function http2Lanes(mesh: Mesh): readonly Http2Lane[] {
  return [
    { name: 'outbound', open: () => RawHttp2.open(mesh.get('client').outbound) },
    { name: 'inbound in plaintext', open: (app) => RawHttp2.open({ host: mesh.get(app).address, port: 8080 }) },
    { name: 'inbound over mTLS', open: async (app) => RawHttp2.greet(await dialAsPeer(mesh, app, 'outrigger/h2')) },
  ]
}
