import assert from 'node:assert/strict'
import { test } from 'node:test'
import { renderTable } from './table.ts'

test('columns align, numbers to the right, and no line ends in blanks', () => {
  const text = renderTable(
    [{ title: 'FROM' }, { title: 'REQ/S', align: 'right' }, { title: 'WHY' }],
    [
      ['web', '9.5', ''],
      ['inventory', '120.0', 'DENIED'],
    ],
  )
  assert.equal(text, ['FROM       REQ/S  WHY', 'web          9.5', 'inventory  120.0  DENIED'].join('\n'))
})

test('colours do not count as width', () => {
  const text = renderTable([{ title: 'A' }, { title: 'B' }], [['\x1b[31mred\x1b[39m', 'x']])
  assert.equal(text, 'A    B\n\x1b[31mred\x1b[39m  x')
})

test('a long cell is cut to the width of its column', () => {
  assert.equal(renderTable([{ title: 'A', widthMax: 4 }], [['abcdef']]), 'A\nabc…')
})

test('a row with too few cells is filled', () => {
  assert.equal(renderTable([{ title: 'A' }, { title: 'B' }], [['1']]), 'A  B\n1')
})
