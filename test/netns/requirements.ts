import { spawnSync } from 'node:child_process'
import { missingPrograms, type Program, programPath } from '../support/programs.ts'

/** Programs of the network-namespace lane and the Debian package each is in. */
const programs: readonly Program[] = [
  ['ip', 'iproute2'],
  ['iptables-restore', 'iptables'],
  ['ip6tables-restore', 'iptables'],
  ['setpriv', 'util-linux'],
  ['tcpdump', 'tcpdump'],
  ['tshark', 'tshark'],
]

/** What the network-namespace lane lacks on this machine, each with its remedy; empty: it can run. */
export function missingForNetns(): string[] {
  if (process.platform !== 'linux') return [`network namespaces need Linux, this is ${process.platform}`]
  const missing = missingPrograms(programs)
  if (process.getuid?.() !== 0) missing.push('needs root: sudo npm run test:netns')
  if (missing.length === 0) missing.push(...kernelProblems())
  return missing
}

/** A root without the capability, or a kernel without NAT, says so only when asked to do it. */
function kernelProblems(): string[] {
  const name = `or${process.pid}-probe`
  const env = { ...process.env, PATH: programPath }
  const made = spawnSync('ip', ['netns', 'add', name], { env, encoding: 'utf8' })
  if (made.status !== 0)
    return [`cannot make a network namespace (${made.stderr.trim()}): run with CAP_SYS_ADMIN and CAP_NET_ADMIN`]
  try {
    const rules =
      '*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 1\n-A OUTPUT -p tcp -m owner --uid-owner 1 -j RETURN\nCOMMIT\n'
    return ['iptables-restore', 'ip6tables-restore'].flatMap((restore) => {
      const tried = spawnSync('ip', ['netns', 'exec', name, restore], { env, encoding: 'utf8', input: rules })
      return tried.status === 0
        ? []
        : [
            `${restore} cannot redirect here (${tried.stderr.trim().split('\n')[0]}): the kernel needs nf_nat, xt_REDIRECT and xt_owner`,
          ]
    })
  } finally {
    spawnSync('ip', ['netns', 'del', name], { env })
  }
}
