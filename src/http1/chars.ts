/** Character classes of RFC 9110 section 5.6.2 and RFC 9112 section 3, as one table of bits. */
export const token = 1
export const targetChar = 2
export const fieldValueChar = 4
export const hostChar = 8
export const hexDigit = 16

export const classes = new Uint8Array(256)

for (let c = 0; c < 256; c++) {
  let bits = 0
  const ch = String.fromCharCode(c)
  if (/^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(ch)) bits |= token
  // Visible ASCII but no fragment: RFC 9112 3.2 has none in a target, and two parsers read '#' two ways.
  if (c > 0x20 && c < 0x7f && ch !== '#') bits |= targetChar
  // VCHAR, obs-text, SP and HTAB (RFC 9110 5.5). No NUL, CR, LF or other control.
  if (c === 0x09 || (c >= 0x20 && c !== 0x7f)) bits |= fieldValueChar
  // What a service name, DNS name or IPv4 address is made of; stricter than reg-name (RFC 3986 3.2.2).
  if (/^[A-Za-z0-9._-]$/.test(ch)) bits |= hostChar
  if (/^[0-9A-Fa-f]$/.test(ch)) bits |= hexDigit
  classes[c] = bits
}
