/**
 * Open-loop load: `paced.ts URL RATE CONNECTIONS SECONDS NAME=VALUE...` sends RATE requests a second over
 * CONNECTIONS keep-alive connections in turn, whether earlier ones were answered or not, and prints what came
 * back as JSON. wrk has no rate, and h2load 1.52 sends a second Host header beside ours, which strict proxies
 * refuse.
 */
import { MessageChannel } from 'node:worker_threads'
import { Client } from 'undici'
import { sleep, systemClock } from '../../../src/base/clock.ts'

const [url = '', rate = '1000', connections = '50', seconds = '10', ...flags] = process.argv.slice(2)
const { origin, pathname } = new URL(url)
const headers = Object.fromEntries(
  flags.map((flag) => [flag.slice(0, flag.indexOf('=')), flag.slice(flag.indexOf('=') + 1)]),
)
const clients = Array.from({ length: Number(connections) }, () => new Client(origin))
const counted = { sent: 0, ok: 0, otherStatus: 0, failed: 0 }
const answers: Promise<void>[] = []

// Neither the clock's timers nor undici's idle sockets keep a process alive; a port that listens does.
const { port1: alive } = new MessageChannel()
alive.on('message', () => undefined)

const begin = systemClock.now()
const pace = systemClock.every(1, () => {
  const due = Math.floor(((systemClock.now() - begin) / 1000) * Number(rate))
  while (counted.sent < due) {
    answers.push(send(clients[counted.sent % clients.length]!))
    counted.sent += 1
  }
})
await sleep(systemClock, Number(seconds) * 1000)
pace.cancel()
await Promise.all(answers)
await Promise.all(clients.map((client) => client.close()))
process.stdout.write(`${JSON.stringify(counted)}\n`)
alive.close()

async function send(client: Client): Promise<void> {
  try {
    const response = await client.request({ path: pathname, method: 'GET', headers })
    await response.body.dump()
    if (response.statusCode >= 200 && response.statusCode < 300) counted.ok += 1
    else counted.otherStatus += 1
  } catch {
    counted.failed += 1
  }
}
