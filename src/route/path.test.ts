import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../base/errors.ts'
import { literalPath, normalizeTarget, pathOf } from './path.ts'

const normal: [string, string][] = [
  ['/', '/'],
  ['*', '*'],
  ['', ''],
  ['/admin', '/admin'],
  ['/admin/', '/admin/'],
  ['/./admin', '/admin'],
  ['/x/../admin', '/admin'],
  ['/x/y/../../admin', '/admin'],
  ['/../admin', '/admin'],
  ['/../../admin', '/admin'],
  ['/admin/.', '/admin/'],
  ['/admin/..', '/'],
  ['/admin/x/..', '/admin/'],
  ['/..', '/'],
  ['/.', '/'],
  ['/a/./b/../c', '/a/c'],
  ['/%61dmin', '/admin'],
  ['/%61%64%6d%69%6e', '/admin'],
  ['/%41', '/A'],
  ['/%2e/admin', '/admin'],
  ['/%2e%2e/admin', '/admin'],
  ['/x/%2E%2E/admin', '/admin'],
  ['/x/.%2e/admin', '/admin'],
  ['/%7euser', '/~user'],
  ['/a%2d%5Fb', '/a-_b'],
  ['/.well-known/x', '/.well-known/x'],
  ['/..a/b', '/..a/b'],
  ['/a..', '/a..'],
  ['/...', '/...'],
  ['/%2f', '/%2f'],
  ['/admin%2fx', '/admin%2fx'],
  ['/admin%2Fx', '/admin%2Fx'],
  ['/x%2f..%2fadmin', '/x%2f..%2fadmin'],
  ['//admin', '//admin'],
  ['/x//../admin', '/x/admin'],
  ['/admin;x=1', '/admin;x=1'],
  ['/..;/admin', '/..;/admin'],
  ['/%3b', '/%3b'],
  ['/%5cadmin', '/%5cadmin'],
  ['/CORP%5Cuser', '/CORP%5Cuser'],
  ['/caf%c3%a9', '/caf%c3%a9'],
  ['/caf\xc3\xa9', '/caf%C3%A9'],
  ['/%c0%ae', '/%c0%ae'],
  ['/%252e%252e/admin', '/%252e%252e/admin'],
  ['/%20', '/%20'],
  ['/ADMIN', '/ADMIN'],
  ['/a?b=/../c', '/a?b=/../c'],
  ['/x/../a?b=%zz', '/a?b=%zz'],
  ['/?', '/?'],
  ['/a?b?c', '/a?b?c'],
  ['/!$&\'()*+,=:@[]{}|^"<>`', '/!$&\'()*+,=:@[]{}|^"<>`'],
]

for (const [spelling, expected] of normal) {
  test(`normal form of ${JSON.stringify(spelling)}`, () => assert.equal(normalizeTarget(spelling), expected))
}

const refused = [
  'admin',
  './admin',
  'http://x/admin',
  '/\\admin',
  '/x\\..\\admin',
  '/admin%00',
  '/admin\0',
  '/%0d%0aX:',
  '/%1f',
  '/%7f',
  '/a\x01',
  '/a b',
  '/a\tb',
  '/a\x7f',
  '/admin#f',
  '/admin?x#f',
  '/admin?x y',
  '/admin?\r\n',
  '/%',
  '/%4',
  '/%zz',
  '/%4g',
  '/%u0041',
  '/\u0141',
]

for (const spelling of refused) {
  test(`refuses ${JSON.stringify(spelling)}`, () => {
    assert.throws(
      () => normalizeTarget(spelling),
      (error) => error instanceof MeshError && error.code === 'BAD_REQUEST',
    )
  })
}

test('the normal form is a fixed point, and has no dot segments', () => {
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2E',
    'a',
    'A',
    '%41',
    '%2f',
    ';',
    '%',
    '\\',
    '?',
    '#',
    '\xe9',
    '%25',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const target = '/' + pieces.join('')
      let once: string
      try {
        once = normalizeTarget(target)
      } catch (error) {
        assert.ok(error instanceof MeshError && error.code === 'BAD_REQUEST')
        return
      }
      assert.equal(normalizeTarget(once), once)
      const path = once.split('?')[0]!
      assert.ok(path.startsWith('/'))
      assert.ok(!path.split('/').some((segment) => segment === '.' || segment === '..'), path)
      assert.ok(!/[\\#]/.test(path))
    }),
    { numRuns: 20_000 },
  )
})

for (const [target, compared] of [
  ['/a?b=%2f', '/a'],
  ['/caf%c3%a9/%2fx%2F', '/caf%C3%A9/%2Fx%2F'],
  ['/%c3a', '/%C3a'],
  ['*', '*'],
  ['', ''],
] as const) {
  test(`${target} is compared as ${compared}`, () => assert.equal(pathOf(target), compared))
}

for (const [literal, compared] of [
  ['/caf%c3%a9', '/caf%C3%A9'],
  ['/caf\u00e9/\u{1f600}', '/caf%C3%A9/%F0%9F%98%80'],
  ['/my docs', '/my%20docs'],
  ['/%61dmin', '/admin'],
  ['/100%', '/100%'],
  ['/a#b?c', '/a%23b%3Fc'],
] as const) {
  test(`a policy that says ${literal} means ${compared}`, () => assert.equal(literalPath(literal), compared))
}
