import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addToList, headerValue, removeHeader, setHeader } from './headers.ts'

test('names are found without case, the first value wins', () => {
  assert.equal(headerValue(['A', '1', 'X-User', 'ann', 'x-user', 'bob'], 'x-user'), 'ann')
  assert.equal(headerValue(['X-Users', '1'], 'x-user'), undefined)
})

test('a value is never taken for a name', () => {
  assert.equal(headerValue(['a', 'x-user', 'b', 'c'], 'x-user'), undefined)
})

test('set replaces every one at the place of the first', () => {
  const headers = ['a', '1', 'X', '2', 'b', '3', 'x', '4', 'c', '5']
  setHeader(headers, 'x', 'new')
  assert.deepEqual(headers, ['a', '1', 'x', 'new', 'b', '3', 'c', '5'])
  setHeader(headers, 'y', 'more')
  assert.deepEqual(headers.slice(-2), ['y', 'more'])
})

test('remove takes every one', () => {
  const headers = ['X', '1', 'a', '2', 'x', '3']
  removeHeader(headers, 'x')
  assert.deepEqual(headers, ['a', '2'])
})

test('a list grows at its end, and becomes one field', () => {
  const headers = ['a', '1', 'X', '2', 'b', '3', 'x', '4, 5']
  addToList(headers, 'x', '6')
  assert.deepEqual(headers, ['a', '1', 'x', '2, 4, 5, 6', 'b', '3'])
  addToList(headers, 'y', 'first')
  assert.deepEqual(headers.slice(-2), ['y', 'first'])
})
