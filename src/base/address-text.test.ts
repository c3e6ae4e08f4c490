import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressRange, isInterfaceName, isPort } from './address-text.ts'

test('a port is a decimal number from 1 to 65535', () => {
  for (const text of ['1', '80', '65535']) assert.equal(isPort(text), true, text)
  for (const text of ['', '0', '65536', '99999', '-1', '8 0', '0x50', '80.0', '*'])
    assert.equal(isPort(text), false, text)
})

test('an address range has the length of one address when none is written', () => {
  assert.equal(addressRange('10.0.0.0/8'), '10.0.0.0/8')
  assert.equal(addressRange('10.1.2.3'), '10.1.2.3/32')
  assert.equal(addressRange('fd00::/8'), 'fd00::/8')
  assert.equal(addressRange('::1'), '::1/128')
  for (const text of [
    '',
    '*',
    '10.0.0/8',
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    '10.0.0.0/-1',
    'web',
  ])
    assert.equal(addressRange(text), undefined, text)
})

test('an interface name is what Linux and iptables take', () => {
  for (const text of ['eth0', 'cali1.5@if4', 'tun-0', 'eth+', '_x', 'a'.repeat(15)])
    assert.equal(isInterfaceName(text), true, text)
  for (const text of ['', '-i', '+', 'a b', 'eth0;', 'a'.repeat(16), '*'])
    assert.equal(isInterfaceName(text), false, text)
})
