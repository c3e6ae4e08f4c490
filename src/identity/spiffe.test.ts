import assert from 'node:assert/strict'
import { test } from 'node:test'
import { matchSpiffeId, parseSpiffeId, printSpiffeId } from './spiffe.ts'

test('an id of the one form is read and printed the same', () => {
  const id = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web.v2' }
  assert.equal(printSpiffeId(id), 'spiffe://cluster.local/ns/shop/sa/web.v2')
  assert.deepEqual(parseSpiffeId('spiffe://cluster.local/ns/shop/sa/web.v2'), id)
})

const wrong = [
  '',
  'spiffe://',
  'spiffe://cluster.local',
  'spiffe://cluster.local/ns/shop',
  'spiffe://cluster.local/ns/shop/sa/',
  'spiffe://cluster.local/ns//sa/web',
  'spiffe:///ns/shop/sa/web',
  'spiffe://cluster.local/ns/shop/sa/web/',
  'spiffe://cluster.local/ns/shop/sa/web/x',
  'spiffe://cluster.local//ns/shop/sa/web',
  'spiffe://cluster.local/ns/shop/sa/..',
  'spiffe://cluster.local/ns/../sa/web',
  'spiffe://cluster.local/NS/shop/sa/web',
  'spiffe://cluster.local/ns/Shop/sa/web',
  'SPIFFE://cluster.local/ns/shop/sa/web',
  'spiffe://Cluster.local/ns/shop/sa/web',
  'spiffe://cluster.local:8443/ns/shop/sa/web',
  'spiffe://user@cluster.local/ns/shop/sa/web',
  'spiffe://cluster.local/ns/shop/sa/web?x',
  'spiffe://cluster.local/ns/shop/sa/web#x',
  'spiffe://cluster.local/ns/shop/sa/w%65b',
  'spiffe://cluster.local/ns/shop/sa/web\0',
  'spiffe://cluster.local/ns/shop/sa/web\n',
  ' spiffe://cluster.local/ns/shop/sa/web',
  'https://cluster.local/ns/shop/sa/web',
  `spiffe://${'a'.repeat(256)}/ns/shop/sa/web`,
  `spiffe://cluster.local/ns/${'a'.repeat(64)}/sa/web`,
  `spiffe://cluster.local/ns/shop/sa/${'a'.repeat(254)}`,
]

for (const text of wrong) {
  test(`no identity: ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(parseSpiffeId(text), undefined))
}

test('a name that could change the meaning of an id is not printed', () => {
  for (const namespace of ['shop/sa/admin', '', 'Shop', 'a b', '..']) {
    assert.throws(
      () => printSpiffeId({ trustDomain: 'cluster.local', namespace, serviceAccount: 'web' }),
      /no identity/,
    )
  }
})

test('a star stands for any run at the start or end, and an absent identity matches nothing', () => {
  const id = 'spiffe://cluster.local/ns/shop/sa/web'
  assert.equal(matchSpiffeId(id, id), true)
  assert.equal(matchSpiffeId('*', id), true)
  assert.equal(matchSpiffeId('spiffe://cluster.local/ns/shop/*', id), true)
  assert.equal(matchSpiffeId('*/ns/shop/sa/web', id), true)
  assert.equal(matchSpiffeId('spiffe://cluster.local/ns/sho', id), false)
  assert.equal(matchSpiffeId('spiffe://cluster.local/ns/Shop/sa/web', id), false)
  assert.equal(matchSpiffeId('spiffe://other/*', id), false)
  assert.equal(matchSpiffeId('*', ''), false)
  assert.equal(matchSpiffeId('', ''), false)
})
