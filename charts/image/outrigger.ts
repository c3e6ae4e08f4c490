/**
 * The content of Outrigger's image: Node, iptables and a shell with the libraries that they need, the production
 * packages and the compiled programs; nothing else. One image serves as sidecar, init container and control plane.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from '../../test/build.ts'
import type { Image } from './archive.ts'
import { Layer } from './layer.ts'
import { isNeeded, productionPackages } from './packages.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** User and group of every container of the image that is not told otherwise; capture leaves its traffic alone. */
const user = 1337

/** Where the programs are. */
const home = '/usr/lib/outrigger'

/** `work` is a folder of the caller's for what is made on the way; it must live until the image is written. */
export function outriggerImage(
  name: string,
  work: string = mkdtempSync(path.join(tmpdir(), 'outrigger-build-')),
): Image {
  const compiled = path.join(work, 'compiled')
  build(compiled)
  return {
    name,
    layers: [systemLayer(work), packagesLayer(), programsLayer(compiled)],
    entrypoint: ['/usr/bin/outrigger'],
    user: `${user}:${user}`,
    env: { OUTRIGGER_NODE: '/usr/bin/node', NODE_ENV: 'production' },
    labels: { 'org.opencontainers.image.title': 'outrigger', 'org.opencontainers.image.version': version() },
  }
}

/** Node, a shell, users: what an image of any program for Node begins with. */
export function systemLayer(work: string): Layer {
  const layer = new Layer()
    .folder('/tmp', 0o1777)
    .text('/etc/passwd', `root:x:0:0:root:/:/bin/sh\noutrigger:x:${user}:${user}:outrigger:/:/bin/sh\n`)
    .text('/etc/group', `root:x:0:\noutrigger:x:${user}:\n`)
    .add(stripped(process.execPath, work), '/usr/bin/node')
    .libraries(process.execPath)
    .add('/bin/sh', '/bin/sh')
    .libraries('/bin/sh')
  for (const empty of ['/dev', '/proc', '/sys', '/run']) layer.folder(empty)
  return withCapture(layer)
}

/** What `outrigger proxy capture` runs. */
function withCapture(layer: Layer): Layer {
  const multi = program('xtables-nft-multi', 'iptables')
  for (const family of ['iptables', 'ip6tables']) {
    for (const verb of ['', '-save', '-restore']) layer.link(`/usr/sbin/${family}${verb}`, 'xtables-nft-multi')
  }
  layer.add(multi, '/usr/sbin/xtables-nft-multi').libraries(multi)
  const listed = execFileSync('dpkg', ['-L', 'iptables', 'libxtables12'], { encoding: 'utf8' })
  const extension = /^\/.*\/libxt_owner\.so$/m.exec(listed)?.[0]
  if (extension === undefined) throw new Error('the extensions of iptables are not there: apt-get install iptables')
  const extensions = path.dirname(extension)
  layer.add(extensions, extensions)
  const ip = program('ip', 'iproute2')
  return layer.add(ip, '/usr/sbin/ip').libraries(ip)
}

function packagesLayer(): Layer {
  const layer = new Layer()
  for (const folder of productionPackages(root)) layer.add(path.join(root, folder), `${home}/${folder}`, isNeeded)
  return layer
}

function programsLayer(compiled: string): Layer {
  return (
    new Layer()
      .add(compiled, home)
      // Not a link: to follow one, the script would need readlink.
      .text('/usr/bin/outrigger', `#!/bin/sh\nexec ${home}/src/cli/outrigger "$@"\n`, 0o755)
      .add(path.join(root, 'LICENSE'), `${home}/LICENSE`)
  )
}

/** The same program without debug information: a fifth smaller. */
function stripped(file: string, work: string): string {
  const smaller = path.join(work, `${path.basename(file)}.stripped`)
  execFileSync(program('strip', 'binutils'), ['--strip-all', '-o', smaller, file])
  return smaller
}

/** Where Debian keeps it; sbin is not on every user's PATH. */
function program(name: string, debianPackage: string): string {
  const folders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin']
  const found = folders.map((folder) => `${folder}/${name}`).find((file) => existsSync(file))
  if (found === undefined) throw new Error(`${name} is not here: apt-get install ${debianPackage}`)
  return found
}

function version(): string {
  return (JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }).version
}
