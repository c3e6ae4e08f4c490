/** Inventory: the end of the chain. Version 2 also says where the item lies. */
import { self, serve } from './service.ts'

const withShelf = process.env['VERSION'] === 'v2'

serve(() => ({
  status: 200,
  served: [],
  body: { item: 'anchor', left: 7, by: self, ...(withShelf ? { shelf: 'B4' } : {}) },
}))
