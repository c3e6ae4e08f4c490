// Time limits of requests, as Gateway API has them: in a rule of a route, and for all requests to a Service.
import { z } from 'zod'
import { admitted } from './admission.ts'
import { crossField } from './cross-field.ts'
import { durationMs } from './duration.ts'
import { duration, ofDurations } from './fields.ts'

/** `request` and `backendRequest`; `unset` says what holds where neither this nor anything else sets one. */
export function timeouts(unset: { readonly request: string; readonly backendRequest: string }) {
  const schema = z
    .strictObject({
      request: duration()
        .optional()
        .describe(
          `Whole request, all tries included; a gRPC call has less if its grpc-timeout says so. 0s: none. Default: ${unset.request}.`,
        ),
      backendRequest: duration().optional().describe(`One try. 0s: none. Default: ${unset.backendRequest}.`),
    })
    .check(
      crossField<{ request?: string | undefined; backendRequest?: string | undefined }>(
        ['request', 'backendRequest'],
        ({ request, backendRequest }, report) => {
          if (request === undefined || backendRequest === undefined || durationMs(request) === 0) return
          if (durationMs(backendRequest) > durationMs(request)) {
            report(`backendRequest (${backendRequest}) must not be longer than request (${request})`, [
              'backendRequest',
            ])
          }
        },
      ),
    )
  return admitted(schema, {
    rule:
      '!has(self.request) || !has(self.backendRequest) || ' +
      ofDurations(
        "duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)",
        'self.request',
        'self.backendRequest',
      ),
    message: 'backendRequest must not be longer than request',
    messageExpression:
      "'backendRequest (' + self.backendRequest + ') must not be longer than request (' + self.request + ')'",
    fieldPath: '.backendRequest',
  })
}
