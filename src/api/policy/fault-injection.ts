import { z } from 'zod'
import { grpcStatusNames } from '../../base/grpc.ts'
import { admitted, atLeastOne, exactlyOne, notBoth } from './admission.ts'
import { policyMode, selector, targetRefs } from './attachment.ts'
import { countSet, crossField } from './cross-field.ts'
import { strictDocument } from './document.ts'
import { durationMs } from './duration.ts'
import { duration, ofDurations, percentage, positiveDuration } from './fields.ts'
import { quote } from './quote.ts'
import { routeMatch } from './route-match.ts'

const range = admitted(
  z
    .strictObject({
      min: duration().describe('Shortest delay.'),
      max: positiveDuration().describe('Longest delay.'),
    })
    .check(
      crossField<{ min: string; max: string }>(['min', 'max'], ({ min, max }, report) => {
        if (durationMs(min) > durationMs(max)) report(`min (${min}) must not be longer than max (${max})`, ['min'])
      }),
    ),
  {
    rule: ofDurations('duration(self.min) <= duration(self.max)', 'self.min', 'self.max'),
    message: 'min must not be longer than max',
    messageExpression: "'min (' + self.min + ') must not be longer than max (' + self.max + ')'",
    fieldPath: '.min',
  },
)

const delay = admitted(
  z
    .strictObject({
      percentage: percentage().default(100).describe('Share of requests that are delayed, in percent.'),
      fixed: positiveDuration().optional().describe('The delay.'),
      range: range.optional().describe('A random delay between min and max.'),
    })
    .check(
      crossField<{ fixed?: string | undefined; range?: object | undefined }>(['fixed', 'range'], (value, report) => {
        if (countSet(value, ['fixed', 'range']) !== 1) report('set exactly one of fixed, range')
      }),
    ),
  exactlyOne('fixed', 'range'),
)

/** Names of every gRPC status that is a failure. */
const [, ...grpcFailures] = grpcStatusNames

const oneAbort = 'set reset, or httpStatus, grpcStatus or both of these'

const abort = admitted(
  z
    .strictObject({
      percentage: percentage().default(100).describe('Share of requests that are aborted, in percent.'),
      httpStatus: z
        .int()
        .min(200)
        .max(599)
        .optional()
        .describe('Answer with this status; a gRPC call with what stands for it, unless grpcStatus says otherwise.'),
      grpcStatus: z
        .enum(grpcFailures)
        .optional()
        .describe('End gRPC calls with this status. Without httpStatus other requests are left alone.'),
      reset: z.literal(true).optional().describe('Close the connection without an answer.'),
    })
    .check(
      crossField<{ httpStatus?: number | undefined; grpcStatus?: string | undefined; reset?: true | undefined }>(
        ['httpStatus', 'grpcStatus', 'reset'],
        (value, report) => {
          if ((value.reset === undefined) === (countSet(value, ['httpStatus', 'grpcStatus']) === 0)) report(oneAbort)
        },
      ),
    ),
  { rule: 'has(self.reset) != (has(self.httpStatus) || has(self.grpcStatus))', message: oneAbort },
)

const noFault = 'set delay, abort or both'
const twoSides = 'set targetRefs (outbound) or selector (inbound), not both'

const spec = admitted(
  z
    .strictObject({
      mode: policyMode(),
      targetRefs: targetRefs('Service', 'HTTPRoute', 'GRPCRoute')
        .optional()
        .describe('Outbound: callers of these Services or routes (sectionName: one rule) see the fault.'),
      selector: selector().optional().describe('Inbound: the selected workloads answer with the fault.'),
      match: z
        .array(routeMatch)
        .max(64)
        .optional()
        .describe('Requests that are affected: any one must hold. Default: every request.'),
      delay: delay.optional().describe('Holds requests back.'),
      abort: abort.optional().describe('Answers instead of the upstream; after the delay, if both are drawn.'),
      expiresAt: z.iso
        .datetime({
          offset: true,
          error: (issue) =>
            typeof issue.input === 'string' ? `${quote(issue.input)} is not an RFC 3339 time` : undefined,
        })
        .max(64)
        .optional()
        .describe('RFC 3339 time after which the fault ends by itself. Default: never.'),
    })
    .check(
      crossField<{ delay?: object | undefined; abort?: object | undefined }>(['delay', 'abort'], (value, report) => {
        if (countSet(value, ['delay', 'abort']) === 0) report(noFault)
      }),
      crossField<{ targetRefs?: unknown; selector?: unknown }>(['targetRefs', 'selector'], (value, report) => {
        if (countSet(value, ['targetRefs', 'selector']) > 1) {
          report(twoSides, ['selector'])
        }
      }),
    ),
  atLeastOne(['delay', 'abort'], noFault),
  notBoth('targetRefs', 'selector', twoSides),
).describe('Which requests fail, and how. Without targetRefs and selector it is used by an ExtensionRef only.')

/** Delays and aborts on purpose. */
export const faultInjection = strictDocument(
  'outrigger.dev/v1alpha1',
  'FaultInjection',
  spec,
  'Delays or aborts requests on purpose, below retries and breakers, until expiresAt.',
)

/** Delays and aborts on purpose. */
export type FaultInjection = z.infer<typeof faultInjection>
