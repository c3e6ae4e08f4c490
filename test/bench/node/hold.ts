/**
 * Holds idle connections: `hold.ts JSON` listens at `control`. `GET /N` asks for N connections, each of which has had one
 * answer, and says 503 until they are there, then 200. It ends when one could not be made, or when one ended.
 */
import { createServer } from 'node:http'
import { Client, type ClientOptions } from './client.ts'

export interface HoldOptions extends ClientOptions {
  readonly control: number
}

const concurrency = 16
const options = JSON.parse(process.argv[2] ?? '{}') as HoldOptions
const client = new Client(options)
let [wanted, opening, open] = [0, 0, 0]

async function fill(): Promise<void> {
  while (open + opening < wanted) {
    opening += 1
    try {
      const socket = await client.open()
      open += 1
      socket.on('error', () => undefined)
      socket.once('close', () => giveUp(`one of ${open} idle connections was closed`))
    } catch (error) {
      giveUp(`connection ${open + 1}: ${error instanceof Error ? error.message : String(error)}`)
    } finally {
      opening -= 1
    }
  }
}

function giveUp(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}

const server = createServer((request, response) => {
  const asked = Number((request.url ?? '/').slice(1))
  if (asked > wanted) {
    wanted = asked
    for (let i = 0; i < concurrency; i++) void fill()
  }
  response.statusCode = open >= wanted ? 200 : 503
  response.end(`${open} of ${wanted}`)
})
server.listen(options.control, '127.0.0.1')
