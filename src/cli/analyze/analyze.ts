/** Everything that can be said about documents and workloads, in one list. */

import { checkModel } from '../../../control-plane/model/check.ts'
import type { Problem } from '../../api/documents/problem.ts'
import { mayFollow } from '../validate.ts'
import { type Message, messageOfProblem, objectText } from './message.ts'
import { analyzePolicies } from './policies.ts'
import type { Subjects } from './subjects.ts'
import { analyzeWorkloads, type Settings } from './workloads.ts'

/** All findings in the order of files and lines; of a cluster by object. Those that an annotation suppresses are left out. */
export function analyze(subjects: Subjects, settings: Settings, suppress: ReadonlySet<string>): Message[] {
  const objects = objectsByPlace(subjects)
  const ofModel = checkModel(subjects.documents).filter((problem) => !mayFollow(problem, [subjects]))
  const problems = [...subjects.problems, ...ofModel]
  const messages = [
    ...problems.map((problem) => messageOfProblem(problem, objects(problem))),
    ...analyzeWorkloads(subjects, settings),
    ...analyzePolicies(subjects),
  ]
  const seen = new Set<string>()
  return messages
    .filter(({ code, object }) => !suppress.has(code) && !(subjects.suppressed.get(object)?.includes(code) ?? false))
    .filter((message) => {
      const key = JSON.stringify(message)
      return !seen.has(key) && seen.add(key)
    })
    .sort((a, b) => compare(a.file, b.file) || a.line - b.line || a.column - b.column || compare(a.code, b.code))
}

/** The object in which a problem stands: the last one of its file that begins before it. */
function objectsByPlace({ documents }: Subjects): (problem: Problem) => string {
  const starts = Map.groupBy(documents, ({ origin }) => origin.file)
  return ({ file, line }) => {
    const cluster = /^cluster:([^/]+)\/(.+)$/.exec(file)
    if (cluster !== null) return `${cluster[1]} ${cluster[2]}`
    const before = (starts.get(file) ?? []).filter(({ origin }) => origin.line <= line)
    const last = before.toSorted((a, b) => a.origin.line - b.origin.line).at(-1)
    return last === undefined ? '' : objectText(last.kind, last.namespace, last.name)
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
