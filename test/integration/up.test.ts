import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { test } from 'node:test'
import { request } from 'undici'
import { eventually, isAlive, ShopCopy, UpProcess } from '../support/shop.ts'

/** Status of a plaintext request to web; undefined when it is refused. */
async function plaintext(shop: ShopCopy): Promise<number | undefined> {
  try {
    const { statusCode, body } = await request(`http://${shop.address(3)}:8080/`, {
      reset: true,
      headersTimeout: 2_000,
    })
    await body.dump()
    return statusCode
  } catch {
    return undefined
  }
}

test('a fresh mesh serves within 60 s: five applications, six sidecars, mTLS between them, no error', async () => {
  using shop = new ShopCopy(41)
  const startedAt = performance.now()
  const up = shop.up('--for', '4s')
  await up.line(
    'a picture with traffic',
    ({ rows }) => rows?.some(({ from, requestsPerSecond }) => from === 'shop/orders' && requestsPerSecond > 0) === true,
  )
  assert.ok(performance.now() - startedAt < 60_000)
  assert.equal(await up.end(), 0, up.stderr)
  const last = up.pictures.at(-1)
  assert.equal(last?.connected, 6)
  assert.equal(last?.sidecars, 6)
  const hops = new Set(last?.rows?.map(({ from, to }) => `${from} ${to}`))
  assert.deepEqual([...hops].toSorted(), [
    'shop/client shop/web',
    'shop/orders shop/inventory',
    'shop/orders shop/shipping',
    'shop/web shop/orders',
  ])
  assert.deepEqual(
    up.result?.checks?.map(({ ok }) => ok),
    [true, true],
  )
})

test('policy is edited while it runs, children are killed, and Ctrl-C leaves nothing behind', async (t) => {
  using shop = new ShopCopy(42)
  const up = shop.up()
  await up.line('a first picture', ({ type }) => type === 'picture')
  const children = up.processes()
  t.after(() => {
    for (const pid of children.keys()) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
  })
  assert.equal(await plaintext(shop), undefined, 'STRICT from the start')

  await t.test('an invalid edit is refused with its place, and the last good version stays', async () => {
    shop.edit('policies.yaml', (text) => text.replace('mode: STRICT', 'mode: PERMISIVE'))
    const { message } = await up.line(
      'the refusal',
      ({ type, message: said }) => type === 'event' && said?.startsWith('refused') === true,
    )
    assert.match(
      message ?? '',
      /policies\.yaml:13:11: error: spec\.mtls\.mode: .*expected one of DISABLE, PERMISSIVE, STRICT; did you mean PERMISSIVE\?/,
    )
    await up.line('the problem in the picture', ({ refused }) => refused?.length === 1)
    assert.equal(await plaintext(shop), undefined)
  })

  await t.test('a valid edit is in force within a second', async () => {
    shop.edit('policies.yaml', (text) => text.replace('mode: PERMISIVE', 'mode: PERMISSIVE'))
    await eventually('plaintext is served', async () => (await plaintext(shop)) === 200, 1_000)
    await up.line('the event', ({ message }) => message === 'policy revision 2 is in force')
    await up.line('the picture', ({ revision, refused }) => revision === 2 && refused?.length === 0)
  })

  await t.test('a sidecar and the control plane that are killed are started again', async () => {
    for (const [name, part] of [
      ['shop/orders sidecar', '--workload shop/orders'],
      ['control plane', 'control-plane run'],
    ] as const) {
      const pid = [...children].find(([, command]) => command.includes(part))?.[0]
      assert.ok(pid !== undefined, `no process of ${name}`)
      process.kill(pid, 'SIGKILL')
      await up.line(
        `the end of ${name}`,
        ({ message }) => message?.startsWith(`${name} ended (SIGKILL), starting it again in 0.5 s`) === true,
      )
    }
    const seen = up.lines.length
    await up.line('all are connected again', (line) => up.lines.indexOf(line) >= seen && line.connected === 6)
    await up.line(
      'traffic flows to the end again',
      (line) =>
        up.lines.indexOf(line) > seen &&
        line.rows?.some(({ from, successPercent }) => from === 'shop/client' && successPercent === 100) === true,
    )
  })

  await t.test('Ctrl-C', async () => {
    const all = up.processes()
    assert.ok(all.size >= 13, 'control plane, six sidecars, five applications, the guard')
    up.child.kill('SIGINT')
    assert.equal(await up.end(), 0)
    await eventually('all are gone', () => [...all.keys()].every((pid) => !isAlive(pid)))
  })
})

test('children end when up is killed with no chance to act', async () => {
  using shop = new ShopCopy(43)
  const up = shop.up('--no-load')
  await up.line('a first picture', ({ type }) => type === 'picture')
  const all = up.processes()
  assert.ok(all.size >= 13)
  up.child.kill('SIGKILL')
  await up.end()
  await eventually('all are gone', () => [...all.keys()].every((pid) => !isAlive(pid)), 15_000)
})

async function occupy(port: number, host: string): Promise<Server> {
  const server = createServer().listen(port, host)
  await once(server, 'listening')
  return server
}

test('a port in use is one line with its remedy, and nothing is started', async () => {
  using shop = new ShopCopy(44)
  const server = await occupy(8_080, shop.address(3))
  const up = shop.up()
  assert.equal(await up.end(), 1)
  server.close()
  assert.match(
    up.stderr,
    new RegExp(`^outrigger: ${shop.address(3)}:8080 \\(shop/web, inbound\\) is in use: stop what listens there .*\\n$`),
  )
})

test('documents that are not in order: all problems at once, each with its place', async () => {
  using shop = new ShopCopy(45)
  shop.edit('policies.yaml', (text) =>
    text.replace('mode: STRICT', 'mood: STRICT').replace('attempts: 2', 'attempts: many'),
  )
  const up = shop.up()
  assert.equal(await up.end(), 1)
  assert.match(up.stderr, /policies\.yaml:13:5: error: .*mood/)
  assert.match(up.stderr, /policies\.yaml:\d+:\d+: error: .*attempts/)
})

test('a folder that is not there', async () => {
  const missing = new UpProcess(['/no/such/folder'])
  assert.equal(await missing.end(), 1)
  assert.equal(
    missing.stderr,
    'outrigger: /no/such/folder: does not exist; give a folder of YAML documents, such as examples/shop\n',
  )
})

test('a time in which a scenario would count nothing, before anything is started', async () => {
  using shop = new ShopCopy(46)
  const up = shop.up('--scenario', 'permissive', '--for', '4s')
  assert.equal(await up.end(), 1)
  assert.equal(
    up.stderr,
    "outrigger: --for 4s leaves nothing to count: scenario 'permissive' settles for 4s; give it 20s or longer\n",
  )
})

test('a scenario that settles for longer than its phases come round', async () => {
  using shop = new ShopCopy(49)
  shop.edit('../scenarios/permissive/scenario.yaml', (text) => text.replaceAll('settle: 2', 'settle: 20'))
  const up = shop.up('--scenario', 'permissive')
  assert.equal(await up.end(), 1)
  assert.equal(
    up.stderr,
    "outrigger: a cycle of 30s leaves nothing to count: scenario 'permissive' settles for 40s; give it 80s or longer with --for\n",
  )
})

test('an application that cannot start ends the start, with its last lines', async () => {
  using shop = new ShopCopy(47)
  shop.edit('web.yaml', (text) => text.replace('command: [node, apps/web.ts]', 'command: [node, apps/wbe.ts]'))
  const up = shop.up()
  assert.equal(await up.end(), 1)
  assert.match(
    up.stderr,
    /outrigger: shop\/web web ended \(exit code 1\) before it was ready; its last lines in .*shop\.web\.web\.log:\n/,
  )
  assert.equal(up.processes().size, 0)
})
