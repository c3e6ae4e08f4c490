/**
 * The iptables rules of redirect capture, as text for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
 * Pure: what stands in the kernel comes in as the output of `iptables-save -t nat`. The order of the rules follows
 * Istio's (tools/istio-iptables), whose reasons stand beside each.
 */

export type Family = 'ipv4' | 'ipv6'

export interface CaptureConfig {
  /** The proxy's user: what it sends is not captured. */
  readonly uid: number
  /** The proxy's group, not captured either; undefined: the user alone decides. */
  readonly gid: number | undefined
  readonly inboundPort: number
  readonly outboundPort: number
  /** Destinations to capture; `*` is every one, none switches outbound capture off. */
  readonly includeOutboundCidrs: readonly string[]
  readonly excludeOutboundCidrs: readonly string[]
  readonly excludeOutboundPorts: readonly number[]
  /** `*` is every port, none switches inbound capture off. */
  readonly includeInboundPorts: '*' | readonly number[]
  /** Added to `inboundPortsNeverCaptured`. */
  readonly excludeInboundPorts: readonly number[]
  /** Interfaces whose traffic is left alone both ways, e.g. a second network of the pod. */
  readonly excludeInterfaces: readonly string[]
}

/** Metrics, health and Prometheus must be reachable in plaintext by kubelet and scrapers (Istio's ports). */
export const inboundPortsNeverCaptured: readonly number[] = [15020, 15021, 15090]

/**
 * Source address with which the inbound proxy dials its own app at the pod's address. It marks that connection as
 * delivered, where any other connection of the proxy over `lo` is a call to itself and is captured as inbound.
 * 127.0.0.6 works anywhere on `lo`; ::6 must be added to `lo` first (`--apply` does).
 */
export const deliverySource: Record<Family, string> = { ipv4: '127.0.0.6', ipv6: '::6' }

/** The commands of each family. */
export const commands: Record<Family, { readonly save: string; readonly restore: string }> = {
  ipv4: { save: 'iptables-save', restore: 'iptables-restore' },
  ipv6: { save: 'ip6tables-save', restore: 'ip6tables-restore' },
}

const inbound = 'OUTRIGGER_INBOUND'
const inRedirect = 'OUTRIGGER_IN_REDIRECT'
const output = 'OUTRIGGER_OUTPUT'
const outRedirect = 'OUTRIGGER_REDIRECT'
const chains: readonly string[] = [inbound, inRedirect, output, outRedirect]

/**
 * Input for restore that brings the rules into force, whatever version of them stands now: declaring a chain empties
 * it, the old jumps go and the new ones come in the same commit.
 */
export function captureRules(family: Family, config: CaptureConfig, saved = ''): string {
  const stands = standing(saved)
  return restoreInput([
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...stands.jumps.map((jump) => `-D ${jump}`),
    `-A ${outRedirect} -p tcp -j REDIRECT --to-ports ${config.outboundPort}`,
    `-A ${inRedirect} -p tcp -j REDIRECT --to-ports ${config.inboundPort}`,
    ...inboundRules(config),
    ...outboundRules(family, config),
    `-A PREROUTING -p tcp -j ${inbound}`,
    `-A OUTPUT -p tcp -j ${output}`,
  ])
}

/** Input for restore that takes every rule of ours away, or undefined if none stands. */
export function removalRules(saved: string): string | undefined {
  const stands = standing(saved)
  if (stands.jumps.length === 0 && stands.chains.length === 0) return undefined
  return restoreInput([
    ...stands.jumps.map((jump) => `-D ${jump}`),
    ...stands.chains.map((chain) => `-F ${chain}`),
    ...stands.chains.map((chain) => `-X ${chain}`),
  ])
}

/** A shell script that brings the rules into force in a namespace that has none of ours. */
export function captureScript(families: readonly Family[], config: CaptureConfig): string {
  const parts = families.map((family) =>
    [
      ...(family === 'ipv6' ? [deliveryAddressCommand('replace').join(' ')] : []),
      `${commands[family].restore} --noflush <<'RULES'`,
      `${captureRules(family, config)}RULES`,
    ].join('\n'),
  )
  return ['#!/bin/sh', 'set -e', ...parts, ''].join('\n')
}

/** `ip` command for the IPv6 delivery source on `lo`. */
export function deliveryAddressCommand(verb: 'replace' | 'del'): string[] {
  const address = ['ip', '-6', 'address', verb, `${deliverySource.ipv6}/128`, 'dev', 'lo']
  // Deprecated (RFC 4862): may be bound, is never chosen as the source of anything else.
  return verb === 'replace' ? [...address, 'preferred_lft', '0'] : address
}

function inboundRules(config: CaptureConfig): string[] {
  const rules = config.excludeInterfaces.map((name) => `-A ${inbound} -i ${name} -j RETURN`)
  const excluded = new Set([...inboundPortsNeverCaptured, ...config.excludeInboundPorts])
  for (const port of [...excluded].sort((a, b) => a - b)) {
    rules.push(`-A ${inbound} -p tcp -m tcp --dport ${port} -j RETURN`)
  }
  if (config.includeInboundPorts === '*') rules.push(`-A ${inbound} -p tcp -j ${inRedirect}`)
  else {
    for (const port of config.includeInboundPorts) {
      rules.push(`-A ${inbound} -p tcp -m tcp --dport ${port} -j ${inRedirect}`)
    }
  }
  return rules
}

function outboundRules(family: Family, config: CaptureConfig): string[] {
  const loopback = family === 'ipv4' ? '127.0.0.0/8' : '::1/128'
  const source = `${deliverySource[family]}/${family === 'ipv4' ? 32 : 128}`
  const ours = (cidr: string) => cidr.includes(':') === (family === 'ipv6')
  const rules = config.excludeInterfaces.map((name) => `-A ${output} -o ${name} -j RETURN`)
  // The inbound proxy delivers to its app: done.
  rules.push(`-A ${output} -s ${source} -o lo -j RETURN`)
  // The proxy dials an address of its own pod: the app has called its own service, which is inbound traffic.
  rules.push(`-A ${output} ! -d ${loopback} -o lo -p tcp -m owner --uid-owner ${config.uid} -j ${inbound}`)
  // Anyone else over lo talks within the pod.
  rules.push(`-A ${output} -o lo -m owner ! --uid-owner ${config.uid} -j RETURN`)
  // What the proxy sends has been through the proxy.
  rules.push(`-A ${output} -m owner --uid-owner ${config.uid} -j RETURN`)
  if (config.gid !== undefined) rules.push(`-A ${output} -m owner --gid-owner ${config.gid} -j RETURN`)
  rules.push(`-A ${output} -d ${loopback} -j RETURN`)
  for (const port of config.excludeOutboundPorts) rules.push(`-A ${output} -p tcp -m tcp --dport ${port} -j RETURN`)
  for (const cidr of config.excludeOutboundCidrs.filter(ours)) rules.push(`-A ${output} -d ${cidr} -j RETURN`)
  if (config.includeOutboundCidrs.includes('*')) rules.push(`-A ${output} -j ${outRedirect}`)
  else
    for (const cidr of config.includeOutboundCidrs.filter(ours)) rules.push(`-A ${output} -d ${cidr} -j ${outRedirect}`)
  return rules
}

function restoreInput(lines: readonly string[]): string {
  return `${['*nat', ...lines, 'COMMIT'].join('\n')}\n`
}

/** What of ours stands: jumps from the built-in chains, as `CHAIN rule`, and chains. */
function standing(saved: string): { jumps: string[]; chains: string[] } {
  const jumps: string[] = []
  const found: string[] = []
  for (const line of saved.split('\n')) {
    const chain = /^:(OUTRIGGER_\S+) /.exec(line)?.[1]
    if (chain !== undefined) found.push(chain)
    const jump = /^-A ((?!OUTRIGGER_)\S+ .*-[jg] OUTRIGGER_.*)$/.exec(line)?.[1]
    if (jump !== undefined) jumps.push(jump)
  }
  return { jumps, chains: found }
}
