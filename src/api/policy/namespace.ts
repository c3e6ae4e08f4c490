import type { z } from 'zod'
import { looseDocument, unread } from './document.ts'

/** Core Namespace: its labels. */
export const namespace = looseDocument('v1', 'Namespace', unread('spec', 'status'), 'Core Namespace: its labels.')

/** Core Namespace: its labels. */
export type Namespace = z.infer<typeof namespace>
