import type { Check } from './checks.ts'
import type { Display, Picture } from './display.ts'

/** One JSON object per line on stdout: `{"type": "picture" | "event" | "result", "time": ..., ...}`. */
export class JsonDisplay implements Display {
  readonly everySeconds = 1
  readonly #wallMs: () => number

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  progress(line: string): void {
    console.error(line)
  }

  event(message: string): void {
    this.#write('event', { message })
  }

  picture(picture: Picture): void {
    this.#write('picture', picture)
  }

  result(title: string, checks: readonly Check[]): void {
    this.#write('result', { title, ok: checks.every(({ ok }) => ok), checks })
  }

  #write(type: string, content: object): void {
    console.log(JSON.stringify({ type, time: new Date(this.#wallMs()).toISOString(), ...content }))
  }
}
