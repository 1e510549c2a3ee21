// Makes of what was thrown during a sign-in with Microsoft the EntraError that the person is told, and says whom it is
// put down to.

import { type Blame, BreakerOpen } from './breaker.ts';
import { EntraError, type EntraFailure, type FailureClass } from './errors.ts';
import { MsalRejected } from './msal.ts';
import { UpstreamError, type UpstreamProblem } from './network.ts';
import { classify, TokenRefusal } from './oauth-error.ts';
import { KeysUnavailable } from './tenant-keys.ts';
import { TokenNotAccepted } from './verification.ts';

const meaning: Readonly<Record<UpstreamProblem, { failure: FailureClass; blame: ReturnType<Blame> }>> = {
  unreachable: { failure: 'transient', blame: 'everybody' },
  lost: { failure: 'transient', blame: 'everybody' },
  failing: { failure: 'transient', blame: 'somebody' },
  not_json: { failure: 'transient', blame: 'somebody' }, // the page of a proxy, most of the time
  throttled: { failure: 'transient', blame: 'nobody' },
  redirected: { failure: 'forged', blame: 'nobody' },
  too_large: { failure: 'forged', blame: 'nobody' },
  encoded: { failure: 'forged', blame: 'nobody' },
  not_allowed: { failure: 'forged', blame: 'nobody' },
};

export const blameFor: Blame = (error) => (error instanceof UpstreamError ? meaning[error.problem].blame : 'nobody');

/** @throws `error` itself where it is none of a sign-in's ordinary ends */
export function failureOf(error: unknown, facts: EntraFailure): EntraError {
  const as = (failure: FailureClass, more: EntraFailure = {}) =>
    new EntraError(failure, { ...withoutConsentUrl(failure, facts), ...more, cause: error });

  if (error instanceof EntraError) {
    return new EntraError(error.failure, { ...withoutConsentUrl(error.failure, facts), ...error.facts });
  }
  if (error instanceof TokenRefusal) {
    const { numbers } = error.response;
    return as(classify(error.response), { numbers, reason: error.response.suberror ?? error.response.error });
  }
  if (error instanceof TokenNotAccepted) {
    const { problem } = error;
    return as(problem === 'tenant_not_allowed' ? 'not_entitled' : 'forged', { reason: problem });
  }
  if (error instanceof MsalRejected) return as('forged', { reason: 'rejected_by_msal' });
  if (error instanceof UpstreamError) {
    const { problem, retryAfterSeconds } = error;
    return as(meaning[problem].failure, { reason: problem, retryAfterSeconds });
  }
  if (error instanceof BreakerOpen) {
    return as('transient', { reason: 'held_back', retryAfterSeconds: error.retryAfterSeconds });
  }
  if (error instanceof KeysUnavailable) return as('transient', { reason: 'keys_unavailable' });
  throw error;
}

function withoutConsentUrl(failure: FailureClass, { adminConsentUrl, ...facts }: EntraFailure): EntraFailure {
  return failure === 'consent' ? { ...facts, adminConsentUrl } : facts;
}
