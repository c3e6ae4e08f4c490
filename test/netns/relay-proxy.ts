/**
 * The smallest proxy there can be under redirect capture: listener, original destination, loop guard, relay, and no
 * policy. `relay-proxy.ts [INBOUND OUTBOUND]`. Prints `ready`, then a JSON line for each connection.
 */
import { connect, isIPv6, type Socket } from 'node:net'
import { systemClock } from '../../src/base/clock.ts'
import { peek } from '../../src/detect/peek.ts'
import { deliverySource } from '../../src/listener/capture-rules.ts'
import { Listener } from '../../src/listener/listener.ts'
import { LoopGuard } from '../../src/listener/loop-guard.ts'
import { loadOriginalDestination } from '../../src/listener/original-destination.ts'
import { relay } from '../../src/tcp/relay.ts'

const [inboundPort = 15006, outboundPort = 15001] = process.argv.slice(2).map(Number)
const originalDestination = await loadOriginalDestination()
const guard = new LoopGuard([inboundPort, outboundPort])

for (const host of ['0.0.0.0', '::']) {
  for (const [name, port] of [
    ['inbound', inboundPort],
    ['outbound', outboundPort],
  ] as const) {
    await new Listener({
      name,
      host,
      port,
      clock: systemClock,
      onConnection: (socket) => void serve(name, socket),
    }).listen()
  }
}
console.log('ready')

async function serve(name: 'inbound' | 'outbound', socket: Socket): Promise<void> {
  const destination = originalDestination(socket)
  const loop = guard.check(socket, destination, name)
  if (loop !== undefined || destination === undefined) {
    console.log(JSON.stringify({ name, loop }))
    socket.resetAndDestroy()
    return
  }
  const { address, port } = destination
  const seen = await peek(socket, { clock: systemClock, timeoutMs: 200 })
  if (seen.is === 'gone') return
  const from = name === 'inbound' ? { localAddress: deliverySource[isIPv6(address) ? 'ipv6' : 'ipv4'] } : {}
  const upstream = connect({ host: address, port, allowHalfOpen: true, ...from })
  guard.track(upstream)
  const { end, bytesAToB, bytesBToA, error } = await relay(socket, upstream, {
    clock: systemClock,
    idleTimeoutMs: 60_000,
    heads: { a: seen.head },
  })
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  console.log(
    JSON.stringify({ name, to: `${address} ${port}`, protocol: seen.protocol, end, bytesAToB, bytesBToA, code }),
  )
}
