import { missingPrograms, type Program } from '../support/programs.ts'

/** Servers that other people wrote, as Debian packs them: parsers that must read what we send as we do, and protocols that we relay. */
const programs: readonly Program[] = [
  ['setpriv', 'util-linux'],
  ['nginx', 'nginx'],
  ['haproxy', 'haproxy'],
  ['h2o', 'h2o'],
  ['varnishd', 'varnish'],
  ['traffic_server', 'trafficserver'],
  ['mariadbd', 'mariadb-server'],
  ['/usr/lib/postgresql/15/bin/postgres', 'postgresql-15'],
  ['redis-server', 'redis-server'],
  ['exim4', 'exim4-daemon-light'],
]

/** What the lane of real peers lacks on this machine, each with its remedy; empty: it can run. */
export function missingForPeers(): string[] {
  if (process.platform !== 'linux') return [`the peers are Debian's, this is ${process.platform}`]
  const missing = missingPrograms(programs)
  // Servers of databases refuse to be root, and change to a user of their own: only root can start them so.
  if (process.getuid?.() !== 0) missing.push('needs root: sudo npm test -- peers')
  return missing
}
