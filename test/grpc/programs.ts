/** What test/grpc/build made: peers that other people wrote for this very purpose. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { stateFolder } from '../cluster/state.ts'
import { freePort } from '../support/free-port.ts'

const names = ['h2spec', 'grpc-interop-client', 'grpc-interop-server', 'grpc-interop-http2', 'ghz'] as const
export type PeerProgram = (typeof names)[number]

export function peerProgram(name: PeerProgram): string {
  return path.join(stateFolder, 'libexec', name)
}

/** What the lane lacks on this machine, each with its remedy; empty: it can run. */
export function missingForGrpc(): string[] {
  const absent = names.filter((name) => !existsSync(peerProgram(name)))
  if (absent.length === 0) return []
  return [`no ${absent.join(', ')}: test/grpc/build builds them, with Go 1.26 or newer`]
}

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one to its end. */
export function runPeer(name: PeerProgram, args: readonly string[], timeoutMs = 60_000): Promise<Finished> {
  return new Promise((resolve) => {
    execFile(
      peerProgram(name),
      args,
      {
        env: { ...process.env, GRPC_GO_LOG_SEVERITY_LEVEL: 'info' },
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 16 * 1_048_576,
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
        resolve({ code, stdout, stderr: error?.killed === true ? `${stderr}not within ${timeoutMs} ms` : stderr })
      },
    )
  })
}

export interface InteropServer extends AsyncDisposable {
  readonly port: number
}

/** The interop server of grpc-go, which serves grpc.testing.TestService. */
export async function startInteropServer(): Promise<InteropServer> {
  const port = await freePort()
  const child = spawn(peerProgram('grpc-interop-server'), [`-port=${port}`], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-5_000)))
  const gone = once(child, 'close')
  for (let tries = 0; !(await listens(port)); tries++) {
    if (child.exitCode !== null || tries === 200) throw new Error(`the interop server does not listen:\n${said}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await gone
    },
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1')
  const open = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return open
}
