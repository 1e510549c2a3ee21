// Tells applications that a session ended: sends them logout tokens, signed by the key that signs now (OpenID Connect
// Back-Channel Logout 1.0 §2.4 to §2.8). Behind everything else: no sign-out waits for an application. Whom there is to
// tell, queue.ts knows.
// Not oidc-provider's own feature: that one sends while the person waits, at a sign-out by the person alone, once, and
// has forgotten it when the process ends.

import { randomUUID } from 'node:crypto';
import type { Audit } from '../audit/audit.ts';
import type { Clients } from '../clients/clients.ts';
import { coalesce } from '../database/coalesce.ts';
import { signCompact } from '../keys/compact-jws.ts';
import { issuedAt } from '../keys/dating.ts';
import type { Signer } from '../keys/signer.ts';
import type { Log } from '../log.ts';
import type { LogoutQueue, QueuedLogout } from './queue.ts';

export interface LogoutDelivery {
  /** Sends what is due; resolves when it is sent or put off. Never rejects: what failed is in the log. */
  poll(): Promise<void>;
  /** Breaks off what is under way; another server, or the next start, takes it up. */
  stop(): Promise<void>;
}

interface LogoutDeliveryParts {
  issuer: string;
  queue: Pick<LogoutQueue, 'listen' | 'nextDue' | 'claim' | 'postpone' | 'remove'>;
  clients: Pick<Clients, 'find'>;
  /** What signs now. */
  signer: () => Signer;
  audit: Pick<Audit, 'record'>;
  log: Log;
  now?: () => number;
}

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout';
/** Two minutes at most (§2.4); each try has a token of its own. */
const tokenLifeSeconds = 120;
const answerWithinMs = 5_000;
/** Before the second try and before the third, which is the last. */
const pausesMs = [5_000, 60_000];
/** Nobody else tries meanwhile, and whoever finds it after that finds it abandoned. */
const leaseMs = 30_000;
const atOnce = 20;
/** For a word that got lost. */
const lookEveryMs = 60_000;
const afterFailureMs = 5_000;

export async function startLogoutDelivery(parts: LogoutDeliveryParts): Promise<LogoutDelivery> {
  const { issuer, queue, clients, signer, audit, log, now = Date.now } = parts;
  const closing = new AbortController();
  let failing = false;
  let timer: NodeJS.Timeout | undefined;

  const polls = coalesce(async () => {
    if (closing.signal.aborted) return;
    let next: number | undefined;
    try {
      for (next = await queue.nextDue(); next !== undefined && next <= now(); next = await queue.nextDue()) {
        const outcomes = await Promise.allSettled((await queue.claim(atOnce, leaseMs)).map(deliver));
        if (closing.signal.aborted) return;
        const failure = outcomes.find(({ status }) => status === 'rejected');
        if (failure) throw (failure as PromiseRejectedResult).reason;
      }
      failing = false;
    } catch (error) {
      if (!failing) log.error('logouts.failed', { error });
      failing = true;
    }
    clearTimeout(timer);
    const pauseMs = failing ? afterFailureMs : Math.min(Math.max((next ?? Infinity) - now(), 0), lookEveryMs);
    timer = setTimeout(() => void polls.run(), pauseMs).unref();
  });

  async function deliver(logout: QueuedLogout): Promise<void> {
    const { id, clientId, accountId: subject, tries } = logout;
    const uri = (await clients.find(clientId))?.backchannelLogoutUri;
    // Gone, disabled, or no longer to be told.
    if (uri === undefined) return queue.remove(id);
    const problem = await send(uri, await tokenFor(logout));
    if (closing.signal.aborted) return;
    const pauseMs = pausesMs[tries - 1];
    if (problem?.mayPass && pauseMs !== undefined) return queue.postpone(id, now() + pauseMs);
    await queue.remove(id);
    if (problem) log.warn('logout.undelivered', { clientId, error: problem.error, tries });
    const event = problem ? 'logout.undelivered' : 'logout.delivered';
    audit.record({ event, clientId, subject, detail: { error: problem?.error, tries } });
  }

  async function tokenFor({ clientId, accountId, sid }: QueuedLogout): Promise<string> {
    const iat = issuedAt(now());
    return signCompact(signer(), 'logout+jwt', {
      iss: issuer,
      aud: clientId,
      iat,
      exp: iat + tokenLifeSeconds,
      jti: randomUUID(),
      sub: accountId,
      sid,
      events: { [logoutEvent]: {} },
    });
  }

  /** What went wrong, as a code, and whether it may be better another time; undefined: the application was told. */
  async function send(uri: string, token: string): Promise<{ error: string; mayPass: boolean } | undefined> {
    try {
      const response = await fetch(uri, {
        method: 'POST',
        redirect: 'manual',
        body: new URLSearchParams({ logout_token: token }),
        signal: AbortSignal.any([closing.signal, AbortSignal.timeout(answerWithinMs)]),
      });
      // Nothing in it is for us, however long it is.
      await response.body?.cancel().catch(() => undefined);
      const { status } = response;
      if (status === 200 || status === 204) return undefined; // §2.8
      return { error: `http_${status}`, mayPass: status >= 500 || status === 429 };
    } catch (error) {
      const { name, cause } = error as { name?: string; cause?: { code?: unknown } };
      const code = name === 'TimeoutError' ? 'timeout' : cause?.code;
      return { error: typeof code === 'string' ? code.toLowerCase() : 'unreachable', mayPass: true };
    }
  }

  const unlisten = await queue.listen(() => void polls.run());
  void polls.run(); // what an earlier process left
  return {
    poll: polls.run,
    async stop() {
      closing.abort();
      await unlisten();
      clearTimeout(timer);
      await polls.underWay();
      clearTimeout(timer);
    },
  };
}
