/** Who a TLS peer is. In base, because the control plane asks the same question of its sidecars. */
export { type PeerExpectation, verifyPeer } from '../base/peer.ts'
