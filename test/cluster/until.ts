import { setTimeout } from 'node:timers/promises'

/** Tries until it does not reject, for what can only be asked. After `limitMs` it rejects as the last try did. */
export async function until<T>(attempt: () => Promise<T>, limitMs = 30_000): Promise<T> {
  const deadline = performance.now() + limitMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
    await setTimeout(200)
  }
}
