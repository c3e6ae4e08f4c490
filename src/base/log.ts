import sonicBoom from 'sonic-boom'
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
  return new LineLog(options, write, options.format === 'text' ? textLine : ecsLine, '')
}

/** Says nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, named: () => silentLog }

/** What a caught value says, in one line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*[\r\n]+\s*/g, ' ')
}

/** Makes one line of an event; without its end. */
type Format = (options: LogOptions, name: string, level: LogLevel, message: string, fields: LogFields) => string

class LineLog implements Log {
  readonly #options: LogOptions
  readonly #write: (line: string) => void
  readonly #format: Format
  readonly #name: string
  constructor(options: LogOptions, write: (line: string) => void, format: Format, name: string) {
    this.#options = options
    this.#write = write
    this.#format = format
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
    return new LineLog(this.#options, this.#write, this.#format, name)
  }

  #line(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (rank[level] < rank[this.#options.level]) return
    this.#write(`${this.#format(this.#options, this.#name, level, message, fields)}\n`)
  }
}

const rank = { debug: 0, info: 1, warn: 2, error: 3 } as const

/**
 * One JSON object. Written here rather than by pino, whose writer (sonic-boom) is used: pino itself costs every
 * sidecar 4 to 8 MB for the few lines that it logs.
 */
const ecsLine: Format = ({ clock, service }, name, level, message, fields) =>
  JSON.stringify(
    {
      'log.level': level,
      '@timestamp': new Date(clock.wall()).toISOString(),
      'ecs.version': '8.17.0',
      'service.name': service,
      ...(name === '' ? {} : { 'log.logger': name }),
      ...ecs(fields),
      message,
    },
    plain,
  )

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
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

const textLine: Format = ({ clock }, name, level, message, fields) => {
  const time = new Date(clock.wall()).toISOString().slice(11, 23)
  let line = `${time} ${level.padEnd(5)} ${name === '' ? '' : `${name}: `}${message}`
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${key}=${printed(value)}`
  }
  return line
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
  const destination = new sonicBoom.SonicBoom({ fd: 2, sync: false, maxLength: 1_048_576 })
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
