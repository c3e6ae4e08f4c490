/** The shop's front door: every page asks `orders` for the current order. */
import { call, self, serve } from './service.ts'

const orders = process.env['ORDERS_URL'] ?? 'http://orders:8080'

serve(async ({ forwarded }) => {
  const order = await call(`${orders}/orders/42`, forwarded)
  return { status: order.status, served: order.served, body: { page: 'shop', by: self, order: order.body } }
})
