// Makes src/api/gen from the .proto files. `npm run generate`; the result is committed.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
execFileSync('node_modules/.bin/buf', ['generate', '--template', 'src/api/buf.gen.yaml', 'src/api'], {
  cwd: root,
  stdio: 'inherit',
})
