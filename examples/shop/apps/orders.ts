/** Orders: knows what was ordered, asks `inventory` whether it is there, and `shipping`, by gRPC, what it costs to send it. */
import { callMethod, ok } from './grpc.ts'
import { call, self, serve } from './service.ts'

const inventory = process.env['INVENTORY_URL'] ?? 'http://inventory:8080'
const shipping = process.env['SHIPPING'] ?? 'shipping:8080'

serve(async ({ forwarded }) => {
  const [stock, quote] = await Promise.all([
    call(`${inventory}/stock/anchor`, forwarded),
    callMethod(shipping, '/shop.Shipping/Quote', { item: 'anchor' }, forwarded),
  ])
  // An order without a price is an order still.
  const price = quote.code === ok ? quote.body : { code: quote.code, error: quote.message }
  return {
    status: stock.status,
    served: stock.served,
    body: { order: 42, by: self, stock: stock.body, shipping: price },
  }
})
