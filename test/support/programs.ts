import { existsSync } from 'node:fs'

/** Sbin is not on every user's PATH. */
export const programPath = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`

/** A program that a lane runs, and the Debian package it is in. */
export type Program = readonly [name: string, debianPackage: string]

/** Where a program is, or undefined. A name with a slash is a path of its own. */
export function findProgram(name: string): string | undefined {
  if (name.includes('/')) return existsSync(name) ? name : undefined
  const folder = programPath.split(':').find((at) => at !== '' && existsSync(`${at}/${name}`))
  return folder === undefined ? undefined : `${folder}/${name}`
}

/** One line with the remedy for those that are absent; none when all are there. */
export function missingPrograms(programs: readonly Program[]): string[] {
  const absent = programs.filter(([name]) => findProgram(name) === undefined)
  if (absent.length === 0) return []
  const packages = [...new Set(absent.map(([, debianPackage]) => debianPackage))].join(' ')
  return [`no ${absent.map(([name]) => name).join(', ')}: apt-get install ${packages}`]
}
