/** Names of workloads. In base, because the control plane gives them out. */
export { isTrustDomain, matchSpiffeId, parseSpiffeId, printSpiffeId, type SpiffeId } from '../base/spiffe.ts'
