import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const program = fileURLToPath(new URL('model.ts', import.meta.url))

/** CPU milliseconds, medians where a thing was done several times. */
export interface ModelFigures {
  readonly pods: number
  readonly services: number
  readonly documents: number
  readonly resources: number
  /** All documents, from text. */
  readonly readMs: number
  /** All resources, for the first time. */
  readonly firstMs: number
  /** All resources after a change of one document: a route, endpoints, a policy for one workload. */
  readonly routeMs: number
  readonly endpointsMs: number
  readonly guardMs: number
  /** What is wrong between the documents. */
  readonly checkMs: number
  readonly rssMb: number
}

/** In a process of its own, on the CPU. */
export async function modelFigures(
  taskset: string,
  cpu: number,
  pods: number,
  services: number,
): Promise<ModelFigures> {
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', program, String(pods), String(services)]
  const { stdout } = await run(taskset, ['-c', String(cpu), ...node])
  return JSON.parse(stdout) as ModelFigures
}
