/** Every octet as a latin1 character: from these and field values the engine puts its frames together. */
export const chars: readonly string[] = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet))
