/** Annotations with which people steer one Pod's sidecar: Istio's words under our own prefixes. */

import { closest } from '../../src/api/documents/closest.ts'
import { addressRange, commaList, isInterfaceName, isPort } from '../../src/base/address-text.ts'
import { marks } from '../../src/base/kubernetes-names.ts'
import { threadsMax } from '../../src/base/shared-table.ts'
import type { InjectorConfig } from '../config.ts'

/** What one Pod's annotations say, checked, over the mesh's defaults. */
export interface PodSettings {
  readonly image: string
  readonly interceptionMode: 'REDIRECT' | 'NONE'
  readonly nativeSidecar: boolean
  readonly rewriteProbes: boolean
  readonly logLevel: string
  readonly drainTimeout: string
  readonly drainDelaySeconds: number
  /** Threads of the sidecar that take traffic. */
  readonly workers: number
  /** Somebody knows what the Pod's own init container does with NET_ADMIN. */
  readonly allowNetAdmin: boolean
  readonly resources: {
    readonly requests: Readonly<Record<string, string>>
    readonly limits: Readonly<Record<string, string>>
  }
  /** Arguments of `outrigger proxy capture`. */
  readonly capture: readonly string[]
}

export interface ReadSettings {
  readonly settings: PodSettings
  /** Values that cannot be; the Pod is refused. */
  readonly errors: readonly string[]
  /** Names that nobody reads. */
  readonly warnings: readonly string[]
}

const captureFlags: Readonly<Record<string, { flag: string; check: (item: string) => boolean; expected: string }>> = {
  includeOutboundIPRanges: { flag: '--include-outbound-cidrs', check: isCidrOrAll, expected: 'address ranges or *' },
  excludeOutboundIPRanges: { flag: '--exclude-outbound-cidrs', check: isCidr, expected: 'address ranges' },
  excludeOutboundPorts: { flag: '--exclude-outbound-ports', check: isPort, expected: 'ports' },
  includeInboundPorts: { flag: '--include-inbound-ports', check: isPortOrAll, expected: 'ports or *' },
  excludeInboundPorts: { flag: '--exclude-inbound-ports', check: isPort, expected: 'ports' },
  excludeInterfaces: { flag: '--exclude-interfaces', check: isInterfaceName, expected: 'interface names' },
}

const quantity = /^\d+(\.\d+)?(m|k|M|G|Ki|Mi|Gi)?$/
const duration = /^\d{1,6}(ms|s|m)$/

/** Reads a Pod's annotations. Nothing falls back to a default in silence: what cannot be is an error that names it. */
export function readSettings(annotations: Readonly<Record<string, string>>, defaults: InjectorConfig): ReadSettings {
  const errors: string[] = []
  const warnings: string[] = []
  const capture: string[] = []
  const requests: Record<string, string> = { ...strings(defaults.resources.requests) }
  const limits: Record<string, string> = { ...strings(defaults.resources.limits) }
  const said: Record<string, string | boolean | number> = {}
  const wrong = (name: string, value: string, expected: string): void => {
    errors.push(`annotation ${name}: "${value.slice(0, 80)}" is none of: ${expected}`)
  }
  const choose =
    (
      field: string,
      check: (value: string) => boolean,
      expected: string,
      to?: (value: string) => string | boolean | number,
    ) =>
    (name: string, value: string): void => {
      if (check(value)) said[field] = to === undefined ? value : to(value)
      else wrong(name, value, expected)
    }
  const amount =
    (target: Record<string, string>, key: string) =>
    (name: string, value: string): void => {
      if (quantity.test(value)) target[key] = value
      else wrong(name, value, 'a quantity such as 100m or 128Mi')
    }
  const isBoolean = (value: string): boolean => value === 'true' || value === 'false'
  const proxyReaders: Readonly<Record<string, (name: string, value: string) => void>> = {
    image: choose('image', (value) => /^\S+$/.test(value), 'an image'),
    interceptionMode: choose('interceptionMode', (value) => value === 'REDIRECT' || value === 'NONE', 'REDIRECT, NONE'),
    nativeSidecar: choose('nativeSidecar', isBoolean, 'true, false', (value) => value === 'true'),
    rewriteProbes: choose('rewriteProbes', isBoolean, 'true, false', (value) => value === 'true'),
    allowNetAdmin: choose('allowNetAdmin', isBoolean, 'true, false', (value) => value === 'true'),
    logLevel: choose(
      'logLevel',
      (value) => ['debug', 'info', 'warn', 'error'].includes(value),
      'debug, info, warn, error',
    ),
    drainTimeout: choose('drainTimeout', (value) => duration.test(value), 'a duration such as 30s'),
    drainDelay: choose(
      'drainDelaySeconds',
      (value) => /^\d{1,3}s$/.test(value),
      'seconds such as 5s',
      (value) => Number.parseInt(value, 10),
    ),
    workers: choose('workers', isWorkers, `a whole number from 1 to ${threadsMax}`, Number),
    cpu: amount(requests, 'cpu'),
    memory: amount(requests, 'memory'),
    cpuLimit: amount(limits, 'cpu'),
    memoryLimit: amount(limits, 'memory'),
  }
  for (const [name, value] of Object.entries(annotations)) {
    if (name.startsWith(marks.traffic)) {
      const word = name.slice(marks.traffic.length)
      const known = Object.hasOwn(captureFlags, word) ? captureFlags[word] : undefined
      if (known === undefined) warnings.push(unknown(name, word, Object.keys(captureFlags)))
      else {
        const items = commaList(value)
        if (items.every(known.check)) capture.push(known.flag, items.join(','))
        else wrong(name, value, `a comma separated list of ${known.expected}`)
      }
    } else if (name.startsWith(marks.proxy)) {
      const word = name.slice(marks.proxy.length)
      const read = Object.hasOwn(proxyReaders, word) ? proxyReaders[word] : undefined
      if (read === undefined) warnings.push(unknown(name, word, Object.keys(proxyReaders)))
      else read(name, value)
    } else if (name === marks.opaquePorts) {
      if (!commaList(value).every(isPort)) wrong(name, value, 'a comma separated list of ports')
    } else if (/(^|\.)outrigger\.dev\//.test(name) && name !== marks.status && name !== marks.suppress) {
      warnings.push(`annotation ${name} is not known`)
    }
  }
  const settings = {
    image: defaults.image,
    interceptionMode: defaults.interceptionMode,
    nativeSidecar: defaults.nativeSidecar,
    rewriteProbes: defaults.rewriteProbes,
    logLevel: defaults.logLevel,
    drainTimeout: defaults.drainTimeout,
    drainDelaySeconds: Number.parseInt(defaults.drainDelay, 10),
    workers: 1,
    allowNetAdmin: false,
    ...said,
    resources: { requests, limits },
    capture,
  } as PodSettings
  return { settings, errors, warnings }
}

function unknown(name: string, word: string, words: readonly string[]): string {
  const near = closest(word, words)
  return `annotation ${name} is not known${near === undefined ? '' : `; did you mean ${name.slice(0, -word.length)}${near}?`}`
}

function strings(quantities: Readonly<Record<string, string | undefined>> | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(quantities ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

function isWorkers(text: string): boolean {
  return /^[1-9]\d?$/.test(text) && Number(text) <= threadsMax
}

function isPortOrAll(text: string): boolean {
  return text === '*' || isPort(text)
}

function isCidr(text: string): boolean {
  return addressRange(text) !== undefined
}

function isCidrOrAll(text: string): boolean {
  return text === '*' || isCidr(text)
}
