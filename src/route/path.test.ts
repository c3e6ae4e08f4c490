import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MeshError } from '../base/errors.ts'
import { normalizeTarget, policyPath } from './path.ts'

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
  ['/%2f', '/%2F'],
  ['/admin%2fx', '/admin%2Fx'],
  ['/x%2f..%2fadmin', '/x%2F..%2Fadmin'],
  ['//admin', '//admin'],
  ['/x//../admin', '/x/admin'],
  ['/admin;x=1', '/admin;x=1'],
  ['/..;/admin', '/..;/admin'],
  ['/%3b', '/%3B'],
  ['/caf%c3%a9', '/caf%C3%A9'],
  ['/caf\xc3\xa9', '/caf%C3%A9'],
  ['/%c0%ae', '/%C0%AE'],
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
  '/%5cadmin',
  '/%5Cadmin',
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

const eager: [string, string, boolean][] = [
  ['/admin', '/admin', false],
  ['/admin/', '/admin/', false],
  ['/a%20b', '/a%20b', false],
  ['/caf%C3%A9', '/caf%C3%A9', false],
  ['*', '*', false],
  ['//admin', '/admin', true],
  ['/x///admin', '/x/admin', true],
  ['/admin%2F', '/admin/', true],
  ['/%2Fadmin', '/admin', true],
  ['/x%2F..%2Fadmin', '/admin', true],
  ['/admin;x=1', '/admin', true],
  ['/admin;', '/admin', true],
  ['/;a/admin', '/admin', true],
  ['/x/..;/admin', '/admin', true],
  ['/x/..;y/admin', '/admin', true],
  ['/%252e%252e/admin', '/%252e%252e/admin', true],
  ['/%25', '/%25', false],
  ['/%C0%AEadmin', '/%C0%AEadmin', true],
  ['/%FF', '/%FF', true],
]

for (const [path, expected, ambiguous] of eager) {
  test(`policy sees ${path} as ${expected}${ambiguous ? ', ambiguous' : ''}`, () => {
    assert.deepEqual(policyPath(path), { path: expected, ambiguous })
  })
}
