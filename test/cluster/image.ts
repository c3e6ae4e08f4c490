/**
 * `image.ts NAME:TAG --output FILE [--entrypoint COMMAND] [--user UID] SOURCE:DESTINATION...`: an image of files on this
 * machine. For programs that need nothing but themselves.
 */
import { parseArgs } from 'node:util'
import { writeImage } from '../../charts/image/archive.ts'
import { Layer } from '../../charts/image/layer.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { output: { type: 'string' }, entrypoint: { type: 'string' }, user: { type: 'string' } },
})
const [name, ...files] = positionals
if (name === undefined || values.output === undefined || values.entrypoint === undefined) {
  throw new Error('usage: image.ts NAME:TAG --output FILE --entrypoint PROGRAM [--user UID] SOURCE:DESTINATION...')
}
const layer = new Layer().folder('/tmp', 0o1777)
for (const empty of ['/dev', '/etc', '/proc', '/sys']) layer.folder(empty)
for (const file of files) {
  const cut = file.indexOf(':')
  layer.add(file.slice(0, cut), file.slice(cut + 1))
}
const user = values.user === undefined ? {} : { user: values.user }
writeImage(values.output, { name, layers: [layer], entrypoint: [values.entrypoint], ...user })
