import type { Server } from 'node:net'

export interface ListenOptions {
  readonly host: string
  readonly port: number
  /** For the message: `the policy stream`. */
  readonly what: string
  /** The option that chooses another port. */
  readonly option: string
}

/** Binds a server. Rejects with an Error that says in one line what is in the way and how to get past it. */
export function listen(server: Server, options: ListenOptions): Promise<void> {
  const { host, port, what, option } = options
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      reject(new Error(`cannot listen on ${host}:${port} for ${what}: ${remedy(error, option)}`, { cause: error }))
    }
    server.once('error', failed)
    server.listen({ host, port }, () => {
      server.off('error', failed)
      resolve()
    })
  })
}

function remedy(error: NodeJS.ErrnoException, option: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `the port is in use: stop the program that has it, or choose another with ${option}`
    case 'EACCES':
      return `no permission for this port: choose one above 1023 with ${option}`
    case 'EADDRNOTAVAIL':
      return 'this machine does not have that address: choose another with --host'
    default:
      return error.message
  }
}
