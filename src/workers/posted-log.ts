import type { Log, LogFields, LogLevel } from '../base/log.ts'
import type { FromThread } from './protocol.ts'

/** A thread's log: the process writes the lines, so that they stay whole. */
export class PostedLog implements Log {
  readonly #post: (message: FromThread) => void
  readonly #name: string
  /** Nobody reads debug lines: they are not sent either. */
  readonly #level: { current: LogLevel }

  constructor(post: (message: FromThread) => void, level: { current: LogLevel }, name = '') {
    this.#post = post
    this.#level = level
    this.#name = name
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#level.current === 'debug') this.#say('debug', message, fields)
  }
  info(message: string, fields?: LogFields): void {
    this.#say('info', message, fields)
  }
  warn(message: string, fields?: LogFields): void {
    this.#say('warn', message, fields)
  }
  error(message: string, fields?: LogFields): void {
    this.#say('error', message, fields)
  }
  named(name: string): Log {
    return new PostedLog(this.#post, this.#level, name)
  }

  #say(level: LogLevel, message: string, fields: LogFields = {}): void {
    const of = (given: LogFields): FromThread => ({ is: 'log', level, name: this.#name, message, fields: given })
    try {
      this.#post(of(fields))
    } catch {
      // Something in it cannot travel.
      this.#post(of(Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, String(value)]))))
    }
  }
}
