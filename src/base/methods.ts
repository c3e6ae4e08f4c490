/** What follows from the method of a request alone. */

/** RFC 9110 section 9.2.2. */
export const idempotentMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']

const idempotent = new Set(idempotentMethods)

export function isIdempotent(method: string): boolean {
  return idempotent.has(method)
}

/** Methods whose requests say how long their body is even when it is empty (RFC 9110 section 8.6). */
export function bodyExpected(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH'
}
