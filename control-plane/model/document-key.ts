/** `NS/NAME`: how a document is named where its kind is clear. */
export function objectKey(object: { readonly namespace: string; readonly name: string }): string {
  return `${object.namespace}/${object.name}`
}

/** What makes two documents the same one: `HTTPRoute/shop/orders`. */
export function documentKey(document: {
  readonly kind: string
  readonly namespace: string
  readonly name: string
}): string {
  return `${document.kind}/${document.namespace}/${document.name}`
}
