// The status of an upstream session: whether a person who signed in with Microsoft is still who they were and still may
// sign in. It is asked when tokens are refreshed and when a session is used for another sign-in, but no oftener than
// configured. What Microsoft denies ends at once; where Microsoft cannot be asked, people go on for the configured
// grace and no longer. Where it gave nothing to ask with, they sign in again when the first check is due.

import type { Audit } from '../audit/audit.ts';
import type { EntraConfig } from '../config/config.ts';
import { isAppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type AccountLinking, externalIdOf } from './account-linking.ts';
import type { EntraConnector } from './connector.ts';
import type { EntraIdentity } from './identity.ts';
import type { UpstreamSession, UpstreamSessions } from './upstream-sessions.ts';

/** unknown: nobody can say, and the grace is over. It may be asked again later, so nothing is ended by it. */
type UpstreamSessionStatus = 'holds' | 'ended' | 'unknown';

interface UpstreamStatusParts {
  config: EntraConfig;
  connector: EntraConnector;
  sessions: UpstreamSessions;
  accountLinking: AccountLinking;
  audit: Audit;
  log: Log;
  /** Ends what rests on an upstream session: sessions, grants and their tokens. */
  endUpstream(accountId: string, upstream: readonly string[]): Promise<unknown>;
  now?: () => number;
}

interface UpstreamStatus {
  /** @param upstream id of an upstream session */
  of(upstream: string): Promise<UpstreamSessionStatus>;
}

export function createUpstreamStatus({
  config,
  connector,
  sessions,
  accountLinking,
  audit,
  log,
  endUpstream,
  now = Date.now,
}: UpstreamStatusParts): UpstreamStatus {
  const { every, grace } = config.recheck;
  // Tabs refresh at the same moment: one question to Microsoft answers them all.
  const underWay = new Map<string, Promise<UpstreamSessionStatus>>();

  async function statusOf(upstream: string): Promise<UpstreamSessionStatus> {
    const session = await sessions.find(upstream);
    // A row outlives whatever rests on it, so one that is gone is no reason to go on.
    if (!session || session.endedAt) return 'ended';
    if (every === 0 || ageOf(session) < every) return 'holds';
    // Microsoft gave none, or gave it while nobody was to be checked: a new sign-in is the only way to ask.
    if (session.refreshToken === undefined) return end(session, 'no_refresh_token');
    return ask(session, session.refreshToken);
  }

  async function ask(session: UpstreamSession, refreshToken: string): Promise<UpstreamSessionStatus> {
    const [, , tid = '', oid = ''] = session.externalId.split('|');
    const answer = await connector.recheck(refreshToken, { tid, oid });
    if (answer.outcome === 'ended') return end(session, answer.reason);
    if (answer.outcome === 'unreachable') return bridge(session, answer.reason);
    return accept(session, answer.identity);
  }

  async function accept(session: UpstreamSession, identity: EntraIdentity): Promise<UpstreamSessionStatus> {
    if (externalIdOf(identity) !== session.externalId) return end(session, 'somebody_else');
    try {
      const account = await accountLinking.update(identity, session.accountId);
      if (!account) return await end(session, 'account_disabled');
    } catch (error) {
      if (!isAppError(error, 'groups_unavailable')) throw error;
      return bridge(session, 'groups_unavailable');
    }
    await sessions.checked(session.id, identity.upstreamRefreshToken);
    return 'holds';
  }

  async function end({ id, accountId }: UpstreamSession, reason: string): Promise<UpstreamSessionStatus> {
    // First what rests on it: a process that stops in between finds the rest to be done at the next request.
    await endUpstream(accountId, [id]);
    if (await sessions.end(id)) {
      if (reason === 'somebody_else') log.error('entra.somebody_else', { sub: accountId });
      audit.record({ event: 'upstream.ended', actor: 'entra', subject: accountId, detail: { reason } });
    }
    return 'ended';
  }

  function bridge(session: UpstreamSession, reason: string): UpstreamSessionStatus {
    const goesOn = ageOf(session) < every + grace;
    log.warn('entra.recheck_unreachable', { sub: session.accountId, reason, goesOn });
    return goesOn ? 'holds' : 'unknown';
  }

  const ageOf = ({ checkedAt }: UpstreamSession) => (now() - checkedAt.getTime()) / 1000;

  return {
    of(upstream) {
      const asked = underWay.get(upstream) ?? statusOf(upstream).finally(() => underWay.delete(upstream));
      underWay.set(upstream, asked);
      return asked;
    },
  };
}
