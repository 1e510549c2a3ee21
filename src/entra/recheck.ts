// Rechecks a person at Microsoft by their refresh token, and says what a failure says of them. They are out by what
// Microsoft itself said of them, in words that OAuth has or in a token that is signed, and by a forgery. All else is no
// answer: an outage, or something for an operator here to repair. Nobody is signed out by a proxy's page, a redirect,
// or our own clock.

import { randomUUID } from 'node:crypto';
import type { Log } from '../log.ts';
import type { FailureClass } from './errors.ts';
import { failureOf } from './failure.ts';
import type { IdentifyPerson } from './identify.ts';
import type { EntraIdentity } from './identity.ts';
import { MsalRejected } from './msal.ts';
import { type Network, UpstreamError, type UpstreamProblem } from './network.ts';
import { TokenNotAccepted, type TokenProblem } from './verification.ts';

type RecheckResult =
  | { outcome: 'ok'; identity: EntraIdentity }
  /** Disabled, deleted, unassigned, forbidden by policy, or somebody else: revoke what was built on it. */
  | { outcome: 'ended'; reason: string }
  /** Nobody could say: serve within the grace. */
  | { outcome: 'unreachable'; reason: string };

/** Asks Microsoft whether the person of a refresh token is still who they were, and still may sign in. */
export type Recheck = (
  upstreamRefreshToken: string,
  expected: Pick<EntraIdentity, 'tid' | 'oid'>,
) => Promise<RecheckResult>;

interface RecheckParts {
  identify: IdentifyPerson;
  network: Pick<Network, 'clockAheadSeconds'>;
  log: Log;
}

export function createRecheck({ identify, network, log }: RecheckParts): Recheck {
  return async (upstreamRefreshToken, expected) => {
    const correlationId = randomUUID();
    try {
      const identity = await identify.byRefreshToken(upstreamRefreshToken, expected, correlationId);
      return { outcome: 'ok', identity };
    } catch (error) {
      const { failure, facts, alert, hint, cause } = failureOf(error, { correlationId });
      const { reason = failure, numbers } = facts;
      const verdict = recheckVerdict(error, failure);
      // What would be a forgery in a sign-in may be our clock here, or a proxy: somebody has to look, nobody to go.
      const isDoubtful = alert === 'security' && verdict !== 'ended';
      const write = isDoubtful ? log.warn : alert ? log.error : log.info;
      write('entra.recheck_failed', {
        failure,
        verdict,
        reason,
        numbers,
        correlationId,
        oid: expected.oid,
        clockAheadSeconds: network.clockAheadSeconds(),
        hint,
        cause,
      });
      return { outcome: verdict === 'ended' ? 'ended' : 'unreachable', reason };
    }
  };
}

type RecheckVerdict = 'ended' | 'outage' | 'ours';

/** @param failure the class of `error` (failure.ts) */
function recheckVerdict(error: unknown, failure: FailureClass): RecheckVerdict {
  if (error instanceof UpstreamError) return ofAnswers[error.problem];
  if (error instanceof TokenNotAccepted) return ofTokens[error.problem];
  // It read an answer that is none of Microsoft's, and said nothing of the person.
  if (error instanceof MsalRejected) return 'outage';
  return ofFailures[failure];
}

/** What came back, or did not. */
export const ofAnswers: Readonly<Record<UpstreamProblem, RecheckVerdict>> = {
  unreachable: 'outage',
  lost: 'outage',
  throttled: 'outage',
  failing: 'outage',
  redirected: 'outage',
  too_large: 'outage',
  encoded: 'outage',
  not_json: 'outage',
  not_allowed: 'ours',
};

/** An ID token that does not hold. */
export const ofTokens: Readonly<Record<TokenProblem, RecheckVerdict>> = {
  malformed: 'outage', // or there is none: nobody has said anything
  unknown_key: 'outage', // the keys that Microsoft publishes may lag behind the one it signs with
  expired: 'ours', // our clock is fast; Microsoft gives out no token that has expired
  not_yet_valid: 'ours', // or slow
  // A forgery: of a key that is known, it is not the signature; or it is, and of a token of somebody or something else.
  wrong_header: 'ended',
  wrong_algorithm: 'ended',
  wrong_signature: 'ended',
  wrong_key_issuer: 'ended',
  wrong_issuer: 'ended',
  wrong_tenant: 'ended',
  wrong_audience: 'ended',
  wrong_version: 'ended',
  wrong_nonce: 'ended',
  wrong_subject: 'ended',
  wrong_object: 'ended',
  wrong_times: 'ended',
  tenant_not_allowed: 'ended', // genuine, and no longer on the operator's list
};

/** What Microsoft said in the words of OAuth, and what we make of a token that holds. */
export const ofFailures: Readonly<Record<FailureClass, RecheckVerdict>> = {
  transient: 'outage',
  credential: 'ours',
  app_config: 'ours',
  declined: 'ended',
  consent: 'ended',
  not_entitled: 'ended',
  account_state: 'ended',
  policy: 'ended',
  interaction: 'ended',
  no_session: 'ended',
  stale: 'ended',
  guest: 'ended',
  // A check asks for none of these.
  step_up: 'ended',
  too_old: 'ended',
  forged: 'ended',
  lost: 'ended',
  consent_given: 'ended',
  consent_declined: 'ended',
};
