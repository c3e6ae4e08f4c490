/**
 * Every limit of the HTTP/2 engine by name. Defaults are Envoy's for the edge
 * (docs: "Configuring Envoy as an edge proxy") where it has one; equivalents in brackets.
 */
export interface Http2Limits {
  /** Streams that a peer may have open (Envoy max_concurrent_streams). Beyond it: REFUSED_STREAM (RFC 9113 section 5.1.2). */
  readonly concurrentStreamsMax: number
  /** What a peer may send on one stream before we have passed it on (initial_stream_window_size). */
  readonly streamWindowBytes: number
  /** The same over all streams of a connection (initial_connection_window_size). */
  readonly connectionWindowBytes: number
  /** Names, values and 32 bytes for each field, decoded (SETTINGS_MAX_HEADER_LIST_SIZE; max_request_headers_kb). Past it: 431. */
  readonly headerListBytesMax: number
  /** Fields in one section. Past it: 431. */
  readonly fieldsMax: number
  /** A field block before it is decoded, over all its CONTINUATION frames. Past it: ENHANCE_YOUR_CALM. */
  readonly blockBytesMax: number
  /** CONTINUATION frames of one block (CVE-2024-27983, CVE-2024-30255). Past it: ENHANCE_YOUR_CALM. */
  readonly continuationsMax: number
  /**
   * Streams that a peer ended by RST_STREAM before they were answered, or that we had to reset for it: so many at once,
   * and so many more a second (CVE-2023-44487, CVE-2025-8671). Past it: ENHANCE_YOUR_CALM.
   */
  readonly resetsMax: number
  readonly resetsPerSecond: number
  /**
   * Frames that carry nothing (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, of unknown type): so many at once; one
   * more for each frame that carries something, and so many more a second (CVE-2019-9512 to 9518). Past it: ENHANCE_YOUR_CALM.
   */
  readonly idleFramesMax: number
  readonly idleFramesPerSecond: number
  /** Our own frames of control that a peer does not read (max_outbound_control_frames), in bytes. Past it: the connection ends. */
  readonly unreadBytesMax: number
  /** What waits for a window of the peer, on one stream, until its source is told to wait. */
  readonly queuedBytesMax: number
  /** A body that is here whole, together with its head, is handed on as one string and can be sent again. */
  readonly wholeBodyBytesMax: number
  /** Connect to the end of the preface and the first SETTINGS. Then the connection is closed. */
  readonly prefaceTimeoutMs: number
  /** Without a stream (Envoy idle_timeout 1 h). Then GOAWAY. */
  readonly idleTimeoutMs: number
  /** Without a byte from the peer while streams are open: then PING, and without an answer for `pingTimeoutMs` the end. */
  readonly quietMs: number
  readonly pingTimeoutMs: number
  /** Without a byte of a request body that is expected, other than of a gRPC call (as HTTP/1.1). Then its stream is reset. */
  readonly bodyTimeoutMs: number
  /** Without progress of a stream whose peer gives no window (CVE-2019-9517; Envoy stream_idle_timeout). Then it is reset. */
  readonly stallTimeoutMs: number
  /** From the first GOAWAY of a drain, which takes new streams still, to the one that does not. */
  readonly goawayGraceMs: number
  /** How long a peer is read on after a GOAWAY that ends its connection, so that a reset does not eat it. */
  readonly lingerMs: number
}

export const http2Limits: Http2Limits = {
  concurrentStreamsMax: 100,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 1_048_576,
  headerListBytesMax: 64 * 1024,
  fieldsMax: 1_000,
  blockBytesMax: 64 * 1024,
  continuationsMax: 16,
  resetsMax: 150,
  resetsPerSecond: 50,
  idleFramesMax: 1_000,
  idleFramesPerSecond: 100,
  unreadBytesMax: 1_048_576,
  queuedBytesMax: 64 * 1024,
  wholeBodyBytesMax: 16 * 1024,
  prefaceTimeoutMs: 10_000,
  idleTimeoutMs: 300_000,
  quietMs: 60_000,
  pingTimeoutMs: 20_000,
  bodyTimeoutMs: 60_000,
  stallTimeoutMs: 60_000,
  goawayGraceMs: 300,
  lingerMs: 1_000,
}
