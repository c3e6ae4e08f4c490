import { pino } from 'pino'
import type { Clock } from './clock.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFormat = 'json' | 'text'

/** Facts of one event. Names are ECS fields where ECS has one; `error` takes anything that was caught. */
export type LogFields = Readonly<Record<string, unknown>>

/** One line per event, to stderr. Never given a secret: no token, no key, no header value. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** The same log for one part of the program (`log.logger` in ECS). */
  named(name: string): Log
}

export interface LogOptions {
  readonly clock: Clock
  /** `service.name` of every line. */
  readonly service: string
  readonly level: LogLevel
  readonly format: LogFormat
  /** Takes whole lines, newline included. Without it: stderr. */
  readonly write?: ((line: string) => void) | undefined
}

/** Lines in ECS shape (`json`, for Elasticsearch and Loki) or for people (`text`). */
export function createLog(options: LogOptions): Log {
  const write = options.write ?? stderrWriter()
  if (options.format === 'text') return new TextLog(options.clock, options.level, write, '')
  const { clock } = options
  const logger = pino(
    {
      level: options.level,
      messageKey: 'message',
      base: { 'ecs.version': '8.17.0', 'service.name': options.service },
      timestamp: () => `,"@timestamp":"${new Date(clock.wall()).toISOString()}"`,
      formatters: { level: (label) => ({ 'log.level': label }) },
    },
    { write },
  )
  return new EcsLog(logger)
}

/** Says nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, named: () => silentLog }

/** What a caught value says, in one line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*[\r\n]+\s*/g, ' ')
}

/** The part of pino that is used. */
interface PinoLike {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(bindings: Record<string, unknown>): PinoLike
}

class EcsLog implements Log {
  readonly #logger: PinoLike
  constructor(logger: PinoLike) {
    this.#logger = logger
  }
  debug(message: string, fields: LogFields = {}): void {
    this.#logger.debug(ecs(fields), message)
  }
  info(message: string, fields: LogFields = {}): void {
    this.#logger.info(ecs(fields), message)
  }
  warn(message: string, fields: LogFields = {}): void {
    this.#logger.warn(ecs(fields), message)
  }
  error(message: string, fields: LogFields = {}): void {
    this.#logger.error(ecs(fields), message)
  }
  named(name: string): Log {
    return new EcsLog(this.#logger.child({ 'log.logger': name }))
  }
}

function ecs(fields: LogFields): LogFields {
  const { error, ...rest } = fields
  if (error === undefined) return rest
  const facts: Record<string, unknown> = { ...rest, 'error.message': messageOf(error) }
  if (error instanceof Error) {
    facts['error.type'] = error.name
    facts['error.stack_trace'] = error.stack
  }
  return facts
}

const rank = { debug: 0, info: 1, warn: 2, error: 3 } as const

class TextLog implements Log {
  readonly #clock: Clock
  readonly #level: LogLevel
  readonly #write: (line: string) => void
  readonly #name: string
  constructor(clock: Clock, level: LogLevel, write: (line: string) => void, name: string) {
    this.#clock = clock
    this.#level = level
    this.#write = write
    this.#name = name
  }
  debug(message: string, fields?: LogFields): void {
    this.#line('debug', message, fields)
  }
  info(message: string, fields?: LogFields): void {
    this.#line('info', message, fields)
  }
  warn(message: string, fields?: LogFields): void {
    this.#line('warn', message, fields)
  }
  error(message: string, fields?: LogFields): void {
    this.#line('error', message, fields)
  }
  named(name: string): Log {
    return new TextLog(this.#clock, this.#level, this.#write, name)
  }

  #line(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (rank[level] < rank[this.#level]) return
    const time = new Date(this.#clock.wall()).toISOString().slice(11, 23)
    let line = `${time} ${level.padEnd(5)} ${this.#name === '' ? '' : `${this.#name}: `}${message}`
    for (const [key, value] of Object.entries(fields)) {
      if (value !== undefined) line += ` ${key}=${printed(value)}`
    }
    this.#write(`${line}\n`)
  }
}

function printed(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(messageOf(value))
  if (typeof value === 'string') return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value)
  if (typeof value === 'bigint') return value.toString()
  return JSON.stringify(value)
}

/**
 * Asynchronous and bounded: a reader of stderr that stalls costs lines, never requests. What is left is
 * written when the process ends.
 */
function stderrWriter(): (line: string) => void {
  const destination = pino.destination({ fd: 2, sync: false, maxLength: 1_048_576 })
  // A closed stderr (the terminal is gone) must not end the mesh.
  destination.on('error', () => {})
  process.once('exit', () => {
    try {
      destination.flushSync()
    } catch {
      // Nowhere left to say it.
    }
  })
  return (line) => void destination.write(line)
}
