import { createServer } from 'node:net'

/** An address that a child will listen on, and what for. */
export interface WantedPort {
  readonly address: string
  readonly port: number
  /** `shop/web: app` */
  readonly purpose: string
}

/**
 * Binds and frees every address before anything is started, so that a port in use is one line that names its remedy
 * and not a child that dies again and again. Returns one line per trouble; none when all is free.
 */
export async function preflight(wanted: readonly WantedPort[]): Promise<readonly string[]> {
  const twice = duplicates(wanted)
  if (twice.length > 0) return twice
  const codes = await Promise.all(wanted.map(tryListen))
  const missing = new Set<string>()
  const lines: string[] = []
  for (const [i, want] of wanted.entries()) {
    const code = codes[i]
    if (code === undefined) continue
    if (code === 'EADDRNOTAVAIL') missing.add(want.address)
    else lines.push(trouble(want, code))
  }
  if (lines.length > linesMax) lines.splice(linesMax, lines.length, `... and ${lines.length - linesMax} more`)
  return [...lines, ...missingAddresses([...missing])]
}

const linesMax = 4

function duplicates(wanted: readonly WantedPort[]): string[] {
  const seen = new Map<string, string>()
  const lines: string[] = []
  for (const { address, port, purpose } of wanted) {
    const key = `${address}:${port}`
    const other = seen.get(key)
    if (other !== undefined) {
      lines.push(`${key} is wanted twice, by ${other} and by ${purpose}: give each Pod an address of its own`)
    }
    seen.set(key, purpose)
  }
  return lines
}

function tryListen({ address, port }: WantedPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

function trouble({ address, port, purpose }: WantedPort, code: string): string {
  const place = `${address}:${port} (${purpose})`
  switch (code) {
    case 'EADDRINUSE':
      return `${place} is in use: stop what listens there (another 'outrigger up'? see: ss -ltnp 'sport = :${port}'), or change the address in the documents`
    case 'EACCES':
      return `${place} may not be used without root: take a port above 1023`
    default:
      return `${place} cannot be used: ${code}`
  }
}

function missingAddresses(addresses: readonly string[]): string[] {
  if (addresses.length === 0) return []
  const list = addresses.join(', ')
  if (process.platform === 'darwin') {
    const commands = addresses.map((address) => `sudo ifconfig lo0 alias ${address} up`).join(' && ')
    return [`this machine has no address ${list}: macOS needs an alias for each: ${commands}`]
  }
  return [`this machine has no address ${list}: use loopback addresses (127.x.y.z) in the documents`]
}
