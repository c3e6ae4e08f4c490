/** What the chart makes of each way to install it. `UPDATE_GOLDEN=1` writes it anew: read it before you keep it. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { it } from 'node:test'
import { root } from '../cluster/state.ts'
import { render, scenarios } from './render.ts'

const folder = path.join(root, 'test/chart/testdata')

for (const scenario of scenarios) {
  it(`renders ${scenario.name}`, async () => {
    const text = withoutDashboards(await render(scenario))
    const file = path.join(folder, `${scenario.name}.yaml`)
    if (process.env['UPDATE_GOLDEN'] === '1') {
      mkdirSync(folder, { recursive: true })
      writeFileSync(file, text)
    }
    assert.equal(text, readFileSync(file, 'utf8'))
  })
}

/** The dashboards are files of their own; here it matters that they are in. */
function withoutDashboards(text: string): string {
  return text.replaceAll(/^( {2}[\w-]+\.json: \|\n)(?: {4}.*\n)+/gm, '$1    ...\n')
}
