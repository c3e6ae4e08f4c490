import type { Exchange, Response } from './exchange.ts'

/** A service answers one exchange. It sees heads; bodies stream past it. */
export type Service = (exchange: Exchange) => Promise<Response>

/** A layer wraps a service in another service of the same shape. */
export type Layer = (next: Service) => Service

/**
 * Outermost layer first: the list reads in the order a request meets it. `undefined` entries are layers that
 * have nothing to do for this route and are left out, so that they cost nothing per request.
 */
export function stack(layers: readonly (Layer | undefined)[], inner: Service): Service {
  return layers.reduceRight<Service>((service, layer) => (layer === undefined ? service : layer(service)), inner)
}
