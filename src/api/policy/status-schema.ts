/** `status` of our kinds, in the words of Gateway API (GEP-713): what control-plane/status writes. */

const text = (description: string, limits: object = {}) => ({ type: 'string', description, ...limits })

const condition = {
  type: 'object',
  required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
  properties: {
    type: text('Accepted, ResolvedRefs or Programmed.', { maxLength: 316 }),
    status: { ...text('Whether it holds.'), enum: ['True', 'False', 'Unknown'] },
    reason: text('One word for programs.', { minLength: 1, maxLength: 1024 }),
    message: text('The reason for people.', { maxLength: 32_768 }),
    observedGeneration: {
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'metadata.generation that it is about.',
    },
    lastTransitionTime: { ...text('When status changed last.'), format: 'date-time' },
  },
}

const conditions = {
  type: 'array',
  maxItems: 8,
  description: 'Accepted: in force. ResolvedRefs: all it names exists. Programmed: the sidecars have it.',
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
  items: condition,
}

const ancestor = {
  type: 'object',
  required: ['ancestorRef', 'controllerName', 'conditions'],
  properties: {
    ancestorRef: {
      type: 'object',
      required: ['name'],
      description: 'The target.',
      properties: {
        group: text('Its API group.', { maxLength: 253 }),
        kind: text('Its kind.', { maxLength: 63 }),
        namespace: text('Its namespace.', { maxLength: 63 }),
        name: text('Its name.', { minLength: 1, maxLength: 253 }),
        sectionName: text('The part of it that is meant.', { maxLength: 253 }),
      },
    },
    controllerName: text('Who wrote this.', { minLength: 1, maxLength: 253 }),
    conditions,
  },
}

/** Structural schema of `status`; `ancestors` is of kinds that name targets. */
export function statusSchema(hasTargets: boolean): Readonly<Record<string, unknown>> {
  const ancestors = {
    type: 'array',
    maxItems: 16,
    description: 'The same for each target.',
    'x-kubernetes-list-type': 'atomic',
    items: ancestor,
  }
  return {
    type: 'object',
    description: 'Written by the control plane.',
    properties: { conditions, ...(hasTargets ? { ancestors } : {}) },
  }
}
