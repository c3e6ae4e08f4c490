/** Images of Jaeger and of Prometheus, of the programs that `build` made: nothing can be pulled. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { writeImage } from '../../charts/image/archive.ts'
import { Layer } from '../../charts/image/layer.ts'
import { run } from './command.ts'
import { script, stateFolder } from './state.ts'

export const jaegerImage = 'localhost/jaeger:test'
export const prometheusImage = 'localhost/prometheus:test'

/** Into the node that is up. */
export async function loadToolImages(): Promise<void> {
  const work = mkdtempSync(path.join(tmpdir(), 'outrigger-images-'))
  try {
    const files = [
      write(work, jaegerImage, 'jaeger', { COLLECTOR_OTLP_ENABLED: 'true' }),
      write(work, prometheusImage, 'prometheus', {}),
    ]
    for (const file of files) await run(script('load'), [file])
  } finally {
    rmSync(work, { recursive: true })
  }
}

function write(work: string, name: string, program: string, env: Readonly<Record<string, string>>): string {
  const source = path.join(stateFolder, 'libexec', program)
  if (!existsSync(source)) throw new Error(`no ${source}: run test/cluster/build`)
  const layer = new Layer().folder('/tmp', 0o1777)
  for (const empty of ['/dev', '/proc', '/sys']) layer.folder(empty)
  layer.text('/etc/passwd', 'nobody:x:65534:65534:nobody:/:/bin/false\n')
  layer.add(source, `/bin/${program}`)
  const file = path.join(work, `${program}.tar`)
  writeImage(file, { name, layers: [layer], entrypoint: [`/bin/${program}`], env })
  return file
}
