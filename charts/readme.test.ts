/** The chart's README has every mark that people write on Pods and Namespaces, and no other. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { controlPlaneConfigSchema } from '../control-plane/config.ts'
import { readSettings } from '../control-plane/inject/annotations.ts'
import { marks } from '../src/base/kubernetes-names.ts'

const read = (name: string): string => readFileSync(fileURLToPath(new URL(name, import.meta.url)), 'utf8')
const documented = new Set(
  [...read('outrigger/README.md').matchAll(/^\| `([\w.]*outrigger\.dev\/[\w-]+)` \|/gm)].map(([, name]) => name!),
)
const { injector } = controlPlaneConfigSchema.parse({ injector: { image: 'x' } })

it('has each label and annotation', () => {
  for (const name of [marks.inject, marks.status, marks.opaquePorts]) assert.ok(documented.has(name), name)
})

it('has each word that steers capture or the proxy', () => {
  const source = read('../control-plane/inject/annotations.ts')
  const ofCapture = [...source.matchAll(/^ {2}(\w+): \{ flag: /gm)].map(([, word]) => marks.traffic + word)
  const ofProxy = [...source.matchAll(/^ {4}(\w+): (?:choose|amount)\(/gm)].map(([, word]) => marks.proxy + word)
  assert.ok(ofCapture.length >= 6 && ofProxy.length >= 11, 'annotations.ts is written in another way now')
  for (const name of [...ofCapture, ...ofProxy]) assert.ok(documented.has(name), name)
})

it('has none that nobody reads', () => {
  // A label, which is none of the annotations.
  documented.delete(marks.inject)
  for (const name of documented)
    assert.deepEqual(
      readSettings({ [name]: 'x' }, injector).warnings.filter((text) => text.includes('not known')),
      [],
      name,
    )
  assert.match(readSettings({ [`${marks.proxy}nothing`]: 'x' }, injector).warnings.join(), /not known/)
})
