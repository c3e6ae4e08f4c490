import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { normalizeTarget, pathOf } from './path.ts'
import { PathReadings } from './path-readings.ts'

const readings: [path: string, all: string[]][] = [
  ['/admin', ['/admin']],
  ['', ['']],
  ['*', ['*']],
  ['/a%20b', ['/a%20b']],
  ['/caf%C3%A9', ['/caf%C3%A9']],
  ['/%25', ['/%25']],
  ['/a%2Fb', ['/a%2Fb', '/a/b']],
  ['/admin;x=1', ['/admin;x=1', '/admin']],
  ['/admin%3Bx', ['/admin%3Bx', '/admin;x', '/admin']],
  ['/x/..;y/admin', ['/x/..;y/admin', '/admin']],
  ['/x%2F..%2Fadmin', ['/x%2F..%2Fadmin', '/admin']],
  ['/x%5C..%5Cadmin', ['/x%5C..%5Cadmin', '/admin']],
  ['//admin', ['//admin', '/admin', '/']],
  ['//host/admin', ['//host/admin', '/host/admin', '/admin']],
  ['/admin%3Fx', ['/admin%3Fx', '/admin']],
  ['/admin%23x', ['/admin%23x', '/admin']],
  ['/%2561dmin', ['/%2561dmin', '/admin']],
  ['/%252e%252E/admin', ['/%252e%252E/admin', '/admin']],
  ['/a%25252Fb', ['/a%25252Fb', '/a%252Fb', '/a%2Fb', '/a/b']],
]

for (const [path, all] of readings) {
  test(`${path} is read as ${all.join(' ')}`, () =>
    assert.deepEqual([...new PathReadings(path).all].sort(), all.sort()))
}

for (const path of ['/%FF', '/%C0%AE/admin', '/%E0%80%AFadmin', '/%25C0%25AFadmin', '/a%2500', '/a%250d', '/%2525FF']) {
  test(`${path} cannot be read`, () => assert.ok(new PathReadings(path).unreadable))
}

test('without case, ends of segments and the last slash', () => {
  assert.deepEqual(new PathReadings('/Admin').folded, ['/admin'])
  assert.deepEqual(new PathReadings('/Admin/').folded, ['/admin/', '/admin'])
  assert.deepEqual(new PathReadings('/admin./X%20').folded, ['/admin./x%20', '/admin/x'])
  assert.deepEqual(new PathReadings('/admin.%20.').folded, ['/admin.%20.', '/admin'])
  assert.deepEqual(new PathReadings('/').folded, ['/'])
})

test('any order of what parsers do comes to a reading', () => {
  const piece = fc.constantFrom(
    '/',
    '..',
    '.',
    'a',
    '%2F',
    '%2f',
    ';',
    ';v',
    '%3B',
    '%5C',
    '%25',
    '2e',
    '2F',
    '//',
    '%3F',
  )
  const parsers: ((path: string) => string)[] = [
    (path) => path.replaceAll(/%2f/gi, '/'),
    (path) => path.replaceAll(/%5c/gi, '/'),
    (path) => path.replaceAll(/%3b/gi, ';'),
    (path) => path.replaceAll(/;[^/]*/g, ''),
    (path) => path.replaceAll(/\/+/g, '/'),
    (path) => pathOf(path),
  ]
  const order = fc.array(fc.constantFrom(...parsers), { maxLength: 8 })
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), order, (pieces, passes) => {
      let seen: string
      try {
        seen = normalizeTarget(`/${pieces.join('')}`)
      } catch {
        return
      }
      const { all } = new PathReadings(pathOf(seen))
      if (all.length === 0) return
      for (const pass of passes) seen = normalizeTarget(pass(seen))
      assert.ok(all.includes(pathOf(seen)), `${seen} is none of ${all.join(' ')}`)
    }),
    { numRuns: 20_000 },
  )
})

test('no path makes work that grows faster than the path', () => {
  const parts = ['/', '..', ';', '%2F', '%5C', '%3B', '%3F', '%25252F', '//', '.', '%20', 'A']
  for (const part of [...parts, parts.join(''), '/..;/%252F']) {
    const path = `/${part.repeat(Math.floor(4_000 / part.length))}`
    let normal: string
    try {
      normal = pathOf(normalizeTarget(path))
    } catch {
      continue
    }
    const started = process.cpuUsage()
    const found = new PathReadings(normal)
    assert.ok(found.folded.length <= 64 && found.all.length <= 16)
    const { user } = process.cpuUsage(started)
    assert.ok(user < 250_000, `${part}: ${user / 1_000} ms`)
  }
})
