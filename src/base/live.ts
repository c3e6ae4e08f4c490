import { isDeepStrictEqual } from 'node:util'

/**
 * A value that changes while the process runs. Readers see the last accepted value.
 * Setting an equal value is not a change, so publishers need not remember what they said.
 */
export class Live<T> {
  #current: T
  readonly #listeners = new Set<(value: T) => void>()

  constructor(initial: T) {
    this.#current = initial
  }

  get current(): T {
    return this.#current
  }

  set(value: T): void {
    if (isDeepStrictEqual(value, this.#current)) return
    this.#current = value
    for (const listener of this.#listeners) listener(value)
  }

  /** Calls the listener now and after every change, until disposed. */
  subscribe(listener: (value: T) => void): Disposable {
    this.#listeners.add(listener)
    listener(this.#current)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }
}
