import type { Tally } from '../load/tally.ts'
import type { Bound, Expectation, Measure } from './scenario.ts'

/** What an application of the examples says under /_counts. */
export interface AppCounts {
  readonly requests: number
  readonly bytes: number
  readonly byPath: Readonly<Record<string, number>>
}

/** The counted part of one phase. */
export interface PhaseRecord {
  readonly name: string
  readonly seconds: number
  /** By stream. */
  readonly tallies: ReadonlyMap<string, Tally>
  /** By Pod: what reached the application in this time. */
  readonly apps: ReadonlyMap<string, AppCounts>
}

/** `workload service state` -> how often a breaker went there, over the whole run. */
export type Transitions = ReadonlyMap<string, number>

/** One line of the table at the end. */
export interface Check {
  readonly that: string
  readonly bound: string
  readonly measured: string
  readonly ok: boolean
}

/** Compares the figures of a run with what the scenario promises. A figure that is not there is a failed check. */
export function checkAll(
  expectations: readonly Expectation[],
  records: readonly PhaseRecord[],
  transitions: Transitions,
): readonly Check[] {
  return expectations.map(({ bound, measure }) => {
    const phases = bound.in === undefined ? records : records.filter((record) => record.name === bound.in)
    const value = phases.length === 0 ? Number.NaN : figure(measure, phases, transitions)
    const ok =
      value >= (bound.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (bound.atMost ?? Number.POSITIVE_INFINITY)
    const unit = unitOf(measure)
    return { that: bound.that, bound: boundText(bound, unit), measured: number(value, unit), ok }
  })
}

/** NaN when there is nothing to measure. */
function figure(measure: Measure, phases: readonly PhaseRecord[], transitions: Transitions): number {
  switch (measure.measure) {
    case 'requests':
      return sum(tallies(phases, measure.stream), (tally) => tally.ended)
    case 'requestsPerSecond':
      return sum(tallies(phases, measure.stream), (tally) => tally.ended) / seconds(phases)
    case 'errorPercent':
      return percentOf(tallies(phases, measure.stream), (tally) => tally.ended - tally.successes)
    case 'statusPercent':
      return percentOf(tallies(phases, measure.stream), (tally) => tally.byStatus.get(measure.status) ?? 0)
    case 'headerPercent':
      return percentOf(tallies(phases, measure.stream), (tally) => tally.withHeader(measure.header, measure.contains))
    case 'slowestMs':
      return longest(tallies(phases, measure.stream), (tally) => tally.latencies.maxMs)
    case 'percentileMs':
      return longest(tallies(phases, measure.stream), (tally) => tally.latencies.percentile(measure.percent))
    case 'appRequests':
      return sum(phases, (phase) => {
        const counts = phase.apps.get(measure.app)
        if (counts === undefined) return Number.NaN
        return measure.path === undefined ? counts.requests : (counts.byPath[measure.path] ?? 0)
      })
    case 'appRequestsPerSecond':
      return sum(phases, (phase) => phase.apps.get(measure.app)?.requests ?? Number.NaN) / seconds(phases)
    case 'appBytes':
      return sum(phases, (phase) => phase.apps.get(measure.app)?.bytes ?? Number.NaN)
    case 'appSharePercent': {
      const requests = (app: string): number => sum(phases, (phase) => phase.apps.get(app)?.requests ?? Number.NaN)
      return (requests(measure.app) / sum(measure.of, requests)) * 100
    }
    case 'breakerTransitions':
      return transitions.get(`${measure.workload} ${measure.service} ${measure.to}`) ?? 0
  }
}

function tallies(phases: readonly PhaseRecord[], stream: string | undefined): Tally[] {
  return phases.flatMap((phase) =>
    [...phase.tallies].filter(([name]) => stream === undefined || name === stream).map(([, tally]) => tally),
  )
}

function seconds(phases: readonly PhaseRecord[]): number {
  return sum(phases, (phase) => phase.seconds)
}

function percentOf(all: readonly Tally[], count: (tally: Tally) => number): number {
  return (sum(all, count) / sum(all, (tally) => tally.ended)) * 100
}

/** Without an answer there is no longest one. */
function longest(all: readonly Tally[], ms: (tally: Tally) => number): number {
  return sum(all, (tally) => tally.answers) === 0 ? Number.NaN : Math.max(...all.map(ms))
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}

type Unit = '' | ' %' | ' ms' | '/s'

function unitOf({ measure }: Measure): Unit {
  if (measure.endsWith('Percent')) return ' %'
  if (measure.endsWith('Ms')) return ' ms'
  return measure.endsWith('PerSecond') ? '/s' : ''
}

function number(value: number, unit: Unit): string {
  if (Number.isNaN(value)) return 'nothing'
  return `${Number.isInteger(value) ? value : value.toFixed(1)}${unit}`
}

function boundText({ atLeast, atMost }: Bound, unit: Unit): string {
  if (atLeast === atMost && atLeast !== undefined) return number(atLeast, unit)
  if (atLeast === undefined) return `<= ${number(atMost ?? 0, unit)}`
  if (atMost === undefined) return `>= ${number(atLeast, unit)}`
  return `${number(atLeast, '')} to ${number(atMost, unit)}`
}
