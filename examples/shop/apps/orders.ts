/** Orders: knows what was ordered, asks `inventory` whether it is there. */
import { call, self, serve } from './service.ts'

const inventory = process.env['INVENTORY_URL'] ?? 'http://inventory:8080'

serve(async ({ forwarded }) => {
  const stock = await call(`${inventory}/stock/anchor`, forwarded)
  return { status: stock.status, served: stock.served, body: { order: 42, by: self, stock: stock.body } }
})
