import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { findProgram } from '../support/programs.ts'

/** Oldest Go that builds every module under programs/. */
const goNeeded = [1, 26] as const

/** What the cluster lane lacks on this machine, each with its remedy; empty: it can run. */
export function missingForCluster(): string[] {
  if (process.platform !== 'linux') return [`a Kubernetes node needs Linux, this is ${process.platform}`]
  const missing = [...goProblems(), ...packageProblems(), ...kernelProblems()]
  if (process.getuid?.() !== 0) missing.push('needs root: sudo npm run test:cluster')
  else if (missing.length === 0) missing.push(...namespaceProblems())
  return missing
}

function goProblems(): string[] {
  const remedy = `install Go ${goNeeded.join('.')} or newer and put it on PATH: the node is built from Go modules`
  const asked = spawnSync('go', ['env', 'GOVERSION'], { encoding: 'utf8' })
  if (asked.error !== undefined) return [`no go: ${remedy}`]
  const found = /^go(\d+)\.(\d+)/.exec(asked.stdout)
  if (found === null) return [`go says '${asked.stdout.trim()}': ${remedy}`]
  const [major, minor] = [Number(found[1]), Number(found[2])]
  const isOld = major < goNeeded[0] || (major === goNeeded[0] && minor < goNeeded[1])
  return isOld ? [`${found[0]} is too old: ${remedy}`] : []
}

/** Of those that a node needs, the ones that say whether the rest is there; `build` installs them with apt-get. */
function packageProblems(): string[] {
  if (findProgram('apt-get') !== undefined) return []
  const absent = ['containerd', 'runc', 'iptables', 'ip', 'conntrack', 'openssl', 'nsenter', 'strip'].filter(
    (name) => findProgram(name) === undefined,
  )
  if (absent.length === 0) return []
  return [
    `no ${absent.join(', ')}, and no apt-get to install them: use Debian 12 or a relative, or install them by hand`,
  ]
}

function kernelProblems(): string[] {
  const problems: string[] = []
  if (!existsSync('/sys/fs/cgroup/memory'))
    problems.push('no cgroup v1 hierarchies under /sys/fs/cgroup: boot with systemd.unified_cgroup_hierarchy=0')
  if (!existsSync('/proc/sys/net/bridge/bridge-nf-call-iptables'))
    problems.push('the kernel module br_netfilter is not loaded: modprobe br_netfilter')
  if (!/\boverlay$/m.test(readFileSync('/proc/filesystems', 'latin1')))
    problems.push('the kernel has no overlayfs: modprobe overlay')
  return problems
}

function namespaceProblems(): string[] {
  const tried = spawnSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { encoding: 'utf8' })
  if (tried.status === 0) return []
  return [`cannot make namespaces (${(tried.stderr ?? '').trim()}): run with CAP_SYS_ADMIN`]
}
