/**
 * Every limit of the HTTP/1.1 engine by name. Envoy and Node equivalents in brackets.
 */
export interface Http1Limits {
  /** Request line and fields, in bytes (Envoy max_request_headers_kb 60, Node maxHeaderSize 16 KiB). Past it: 431. */
  readonly headBytesMax: number
  /** Fields in one head or trailer section (Envoy 100, Node 1,000 to 2,000). Past it: 431. */
  readonly fieldsMax: number
  /** Request target, in bytes. Past it: 414 would be allowed; we answer 431 like Envoy does for the whole head. */
  readonly targetBytesMax: number
  /** Trailer section, in bytes. */
  readonly trailerBytesMax: number
  /** One chunk-size line with its extension, in bytes; extensions are dropped (CVE-2024-22019). */
  readonly chunkLineBytesMax: number
  /** A body that is here whole and is no larger is handed on as one string and can be sent again. */
  readonly wholeBodyBytesMax: number
  /** What is read ahead while nobody takes it (pipelined requests, an unpiped body), in bytes. */
  readonly readAheadBytesMax: number
  /** An unwanted rest of a request body is read and dropped up to here; past it the connection ends. */
  readonly discardBytesMax: number
  /** Connect to the first byte (Linkerd 10 s). Then the connection is closed without an answer. */
  readonly firstByteTimeoutMs: number
  /** First byte to the end of the head (Node headersTimeout 60 s). Then 408. */
  readonly headTimeoutMs: number
  /** Between requests on one connection (Node keepAliveTimeout 5 s, Envoy idle_timeout 1 h). */
  readonly idleTimeoutMs: number
  /** Without a byte of an expected body (either side). Then 408, or reset if a response has begun. */
  readonly bodyTimeoutMs: number
  /** An upstream that was asked for a 100 and sends none gets the body all the same (curl 1 s; RFC 9110 section 10.1.1). */
  readonly continueTimeoutMs: number
  /** Without progress while a reader is full: the client, or the upstream that a body goes to (Envoy stream_idle_timeout 5 min). */
  readonly writeTimeoutMs: number
  /** From a client's end to the first byte of its answer; one that half-closed waits so long, one that left has left. */
  readonly halfClosedTimeoutMs: number
  /** How long a refused peer is read on after our answer, so that a reset does not eat the answer. */
  readonly lingerMs: number
}

export const http1Limits: Http1Limits = {
  headBytesMax: 64 * 1024,
  fieldsMax: 1_000,
  targetBytesMax: 32 * 1024,
  trailerBytesMax: 8 * 1024,
  chunkLineBytesMax: 4 * 1024,
  wholeBodyBytesMax: 16 * 1024,
  readAheadBytesMax: 64 * 1024,
  discardBytesMax: 256 * 1024,
  firstByteTimeoutMs: 10_000,
  headTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  bodyTimeoutMs: 60_000,
  continueTimeoutMs: 1_000,
  writeTimeoutMs: 60_000,
  halfClosedTimeoutMs: 30_000,
  lingerMs: 1_000,
}
