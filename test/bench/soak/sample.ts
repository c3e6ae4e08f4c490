import { request } from 'undici'
import { seriesOf } from '../prometheus.ts'
import { descriptors, memory } from '../usage.ts'

/** One look at a process. */
export interface Sample {
  /** Since the load began. */
  readonly seconds: number
  readonly rss: number
  readonly uss: number
  /** What must not grow, by name. */
  readonly counts: Readonly<Record<string, number>>
}

/** Node's names of what a leak would show in, by ours. Timers do not: ours keep no process alive, and Node lists none of them. */
const resources = { sockets: 'TCPSocketWrap', listeners: 'TCPServerWrap' } as const

interface Pool {
  /** Connections to one endpoint. */
  readonly open: number
}

export interface Watched {
  readonly pid: number
  /** host:port of a sidecar's metrics and admin API; other processes have none. */
  readonly metrics?: string
  readonly admin?: string
}

export async function sampleOf(watched: Watched, seconds: number): Promise<Sample> {
  const { rss, uss } = memory([watched.pid])
  const counts: Record<string, number> = { descriptors: descriptors(watched.pid) }
  if (watched.metrics !== undefined && watched.admin !== undefined) {
    const active = seriesOf(await get(`http://${watched.metrics}/metrics`), 'outrigger_active_resources')
    for (const [name, type] of Object.entries(resources)) counts[name] = active.get(`{type="${type}"}`) ?? 0
    const { pools, local } = JSON.parse(await get(`http://${watched.admin}/backends`)) as Record<string, Pool[]>
    const all = [...(pools ?? []), ...(local ?? [])]
    counts['pools'] = all.length
    counts['pooled'] = all.reduce((sum, { open }) => sum + open, 0)
  }
  return { seconds, rss, uss, counts }
}

/** The revision of the policy that a sidecar has in force, and how many resources it refused. */
export async function policyOf(metrics: string): Promise<{ readonly revision: number; readonly rejected: number }> {
  const text = await get(`http://${metrics}/metrics`)
  // Before the first policy there is no revision.
  const value = (name: string): number => seriesOf(text, name).get('') ?? 0
  return { revision: value('outrigger_policy_revision'), rejected: value('outrigger_policy_rejected') }
}

async function get(url: string): Promise<string> {
  const response = await request(url)
  return response.body.text()
}
