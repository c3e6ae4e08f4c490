/** Shipping: what it costs to send an order. The one service of the shop that speaks gRPC. */
import { CallError, serveCalls } from './grpc.ts'
import { self } from './service.ts'

const pricePerKg = 3
const weights: Record<string, number> = { anchor: 12 }

serveCalls({
  '/shop.Shipping/Quote': ({ item }) => {
    const kg = weights[String(item)]
    if (kg === undefined) throw CallError.notFound(`nobody knows what ${String(item)} weighs`)
    return { item, price: kg * pricePerKg, by: self }
  },
})
