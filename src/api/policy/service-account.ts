import type { z } from 'zod'
import { looseDocument, unread } from './document.ts'

/** Core ServiceAccount: who a workload is. */
export const serviceAccount = looseDocument(
  'v1',
  'ServiceAccount',
  unread('automountServiceAccountToken', 'imagePullSecrets', 'secrets'),
  'Core ServiceAccount: who a workload is.',
)

/** Core ServiceAccount: who a workload is. */
export type ServiceAccount = z.infer<typeof serviceAccount>
