/**
 * The shop's customers, where no one else sends their traffic (in a cluster): TARGET is asked RATE times a second, whatever
 * comes back, and every ten seconds one line says what came.
 */
import http from 'node:http'

const target = process.env['TARGET'] ?? 'http://web:8080/'
const rate = Number(process.env['RATE'] ?? 10)
const agent = new http.Agent({ keepAlive: true, maxSockets: 200 })
let outcomes: Record<string, number> = {}

function count(outcome: string): void {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
}

function ask(): void {
  const request = http.get(target, { agent, timeout: 10_000 }, (response) => {
    response.resume()
    response.on('end', () => count(String(response.statusCode)))
    response.on('error', (error) => count(error.message))
  })
  request.on('timeout', () => request.destroy(new Error('no answer within 10 s')))
  request.on('error', (error) => count(error.message))
}

setInterval(ask, 1_000 / rate)
setInterval(() => {
  const parts = Object.entries(outcomes).map(([outcome, times]) => `${outcome} x ${times}`)
  console.log(`${target}: ${parts.join(', ') || 'nothing came back'}`)
  outcomes = {}
}, 10_000)
process.once('SIGTERM', () => process.exit(0))
