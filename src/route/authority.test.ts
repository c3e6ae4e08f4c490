import assert from 'node:assert/strict'
import { test } from 'node:test'
import { serviceOf } from './authority.ts'

const scope = { namespace: 'shop', clusterDomain: 'cluster.local' }

const names: [string, string | undefined][] = [
  ['orders', 'shop/orders:80'],
  ['orders:8080', 'shop/orders:8080'],
  ['ORDERS', 'shop/orders:80'],
  ['orders.', 'shop/orders:80'],
  ['orders.pay', 'pay/orders:80'],
  ['orders.pay:9090', 'pay/orders:9090'],
  ['orders.pay.svc', 'pay/orders:80'],
  ['orders.pay.svc:1', 'pay/orders:1'],
  ['orders.pay.svc.cluster.local', 'pay/orders:80'],
  ['orders.pay.svc.cluster.local.:65535', 'pay/orders:65535'],
  ['Orders.Pay.SVC.Cluster.Local', 'pay/orders:80'],
  ['orders-v2.pay', 'pay/orders-v2:80'],
  ['', undefined],
  ['.', undefined],
  ['orders..svc', undefined],
  ['orders.pay.pod', undefined],
  ['orders.pay.svc.cluster', undefined],
  ['orders.pay.svc.example.org', undefined],
  ['orders.pay.svc.cluster.local.evil', undefined],
  ['orders:0', undefined],
  ['orders:65536', undefined],
  ['orders:', undefined],
  ['orders:80a', undefined],
  ['orders:80:80', undefined],
  ['127.0.0.1:8080', undefined],
  ['10.1', undefined],
  ['[::1]:80', undefined],
  ['-orders', undefined],
  ['orders-', undefined],
  ['ord_ers', undefined],
  ['ord/ers', undefined],
  ['user@orders', undefined],
  [`${'a'.repeat(63)}`, `shop/${'a'.repeat(63)}:80`],
  [`${'a'.repeat(64)}`, undefined],
]

for (const [authority, expected] of names) {
  test(`authority ${JSON.stringify(authority.slice(0, 40))} is ${expected?.slice(0, 40) ?? 'no service'}`, () => {
    const name = serviceOf(authority, scope)
    assert.equal(name && `${name.namespace}/${name.name}:${name.port}`, expected)
  })
}
