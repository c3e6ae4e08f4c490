/** What an answer must be, and many together. */
import type { Answer } from './echo.ts'

/** What is left out may be anything. */
export type Expectation = Partial<{
  status: number
  version: 'v1' | 'v2'
  target: string
  location: string
  /** Headers of the answer; '' = not there. */
  headers: Readonly<Record<string, string>>
  /** Headers that the application saw; '' = not there. */
  request: Readonly<Record<string, string>>
}>

/** What differs from the expectation, first difference only. */
export function expecting(wanted: Expectation): (answer: Answer) => string | undefined {
  const { status = 200, version, target, location, headers = {}, request = {} } = wanted
  return (answer) => {
    if (answer.status !== status) return `status ${answer.status}, not ${status}`
    if (version !== undefined && !answer.pod.startsWith(`echo-${version}-`)) return `pod ${answer.pod}, not ${version}`
    if (target !== undefined && answer.target !== target) return `the application saw ${answer.target}, not ${target}`
    if (location !== undefined && answer.headers['location'] !== location) {
      return `Location ${answer.headers['location']}, not ${location}`
    }
    return (
      differs('header', answer.headers, headers) ?? differs('header of the request', answer.requestHeaders, request)
    )
  }
}

function differs(
  what: string,
  found: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): string | undefined {
  for (const [name, value] of Object.entries(wanted)) {
    if ((found[name] ?? '') !== value) return `${what} ${name} is "${found[name] ?? ''}", not "${value}"`
  }
  return undefined
}

/** Four standard deviations of a binomial distribution: one honest run in 16,000 is outside. */
export function aboutShare(version: 'v1' | 'v2', share: number) {
  return (answers: readonly Answer[]): string | undefined => {
    const count = answers.filter(({ pod }) => pod.startsWith(`echo-${version}-`)).length
    const wanted = answers.length * share
    const far = 4 * Math.sqrt(answers.length * share * (1 - share))
    return Math.abs(count - wanted) <= far ? undefined : `${count} of ${answers.length} to ${version}, not ${wanted}`
  }
}
