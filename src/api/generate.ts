// Makes all that is made of another source: src/api/gen of the .proto files, src/api/schema and charts/outrigger-crds of
// src/api/policy. `npm run generate`; the result is committed.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
execFileSync('node_modules/.bin/buf', ['generate', '--template', 'src/api/buf.gen.yaml', 'src/api'], {
  cwd: root,
  stdio: 'inherit',
})
for (const maker of ['generate-schema.ts', 'generate-crds.ts']) {
  execFileSync(process.execPath, [`src/api/${maker}`], { cwd: root, stdio: 'inherit' })
}
