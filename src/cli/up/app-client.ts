import { request } from 'undici'
import { z } from 'zod'
import type { AppCounts } from './checks.ts'
import type { WorkloadPlan } from './mesh-plan.ts'

const countsSchema = z.looseObject({
  requests: z.number(),
  bytes: z.number(),
  byPath: z.record(z.string(), z.number()),
})

/** What reached each application so far, by Pod. Only applications that have /_counts, as those of examples/shop, are asked. */
export async function appCounts(workloads: readonly WorkloadPlan[]): Promise<ReadonlyMap<string, AppCounts>> {
  const all = new Map<string, AppCounts>()
  await Promise.all(
    workloads.map(async (workload) => {
      const base = appAddress(workload)
      if (base === undefined) return
      const text = await ask(`${base}/_counts`, 'GET').catch(() => undefined)
      const parsed = countsSchema.safeParse(text === undefined ? undefined : parse(text))
      if (parsed.success) all.set(workload.name, parsed.data)
    }),
  )
  return all
}

/** Makes an application of examples/shop fail, or heals it with 0 percent. Throws when it does not answer. */
export async function switchApp(workload: WorkloadPlan, failPercent: number, failStatus: number): Promise<void> {
  const base = appAddress(workload)
  if (base === undefined) throw new Error(`Pod ${workload.name} runs no application that listens`)
  await ask(`${base}/_switch?failPercent=${failPercent}&failStatus=${failStatus}`, 'POST')
}

function appAddress({ address, programs }: WorkloadPlan): string | undefined {
  const port = programs.find(({ appPort }) => appPort !== undefined)?.appPort
  return port === undefined ? undefined : `http://${address}:${port}`
}

async function ask(url: string, method: 'GET' | 'POST'): Promise<string> {
  const { statusCode, body } = await request(url, { method, headersTimeout: answerMs, bodyTimeout: answerMs })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${method} ${url} answered ${statusCode}`)
  return text
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const answerMs = 5_000
