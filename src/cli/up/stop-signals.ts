/** Ctrl-C and its like, as an AbortSignal. */
export interface StopSignals extends Disposable {
  readonly signal: AbortSignal
}

/**
 * The first SIGINT, SIGTERM or SIGHUP aborts the signal, so that everything ends in order. The second one ends this
 * process at once; the orphan guard then ends the children.
 */
export function stopSignals(tell: (line: string) => void): StopSignals {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    tell('stopping (once more to stop at once)')
    controller.abort()
  }
  for (const name of names) process.on(name, onSignal)
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, onSignal)
    },
  }
}

const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
